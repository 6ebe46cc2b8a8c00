import { escapeControl } from './format.ts'

/** Spaces between two columns. */
const GAP = 3

const ASCII = /^[\x20-\x7e]*$/

/** One line of a table, a cell a column. */
export type TableRow = readonly (string | number)[]

/**
 * Lines of a table in docker's look: a head in capitals, no borders, columns three spaces apart. Cells are text
 * from images and file names, so what would break the line or drive the terminal is spelled out.
 */
export async function table(head: readonly string[], rows: readonly TableRow[]): Promise<string[]> {
  const lines = [head, ...rows].map((cells) => cells.map((cell) => escapeControl(String(cell))))
  const columnsOf = lines.flat().every((cell) => ASCII.test(cell)) ? lengthOf : await importWidth()
  const widths = head.map((_, column) => Math.max(...lines.map((cells) => columnsOf(cells[column] ?? ''))))
  const pad = (cell: string, column: number): string =>
    cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - columnsOf(cell)) + GAP)
  return lines.map((cells) => cells.map(pad).join('').trimEnd())
}

/** The columns of a terminal that a text takes. It has a long table of emoji to load. */
const importWidth = async () => (await import('string-width')).default

const lengthOf = (text: string): number => text.length

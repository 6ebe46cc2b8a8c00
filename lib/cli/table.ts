import Table from 'cli-table3'
import { escapeControl } from './format.ts'

const NO_BORDERS = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid', 'middle']
    .flatMap((name) => [name, `${name}-mid`, `${name}-left`, `${name}-right`])
    .concat('mid-mid')
    .map((name) => [name, '']),
)

/** One line of a table, a cell a column. */
export type TableRow = readonly (string | number)[]

/**
 * Lines of a table in docker's look: a head in capitals, no borders, columns three spaces apart. Cells are text
 * from images and file names, so what would break the line or drive the terminal is spelled out.
 */
export function table(head: readonly string[], rows: readonly TableRow[]): string[] {
  const made = new Table({
    head: [...head],
    chars: NO_BORDERS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 3 },
  })
  for (const row of rows) made.push(row.map((cell) => escapeControl(String(cell))))
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
}

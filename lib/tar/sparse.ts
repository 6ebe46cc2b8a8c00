/**
 * GNU's four ways to say which runs of a sparse file an archive holds: old GNU (type `S`, four runs in the
 * header, more in blocks after it), PAX 0.0 and 0.1 (a list in the PAX header), PAX 1.0 (a list before the data).
 *
 * @see https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html
 */
import type { SparseRun } from './entry.ts'
import { number } from './header.ts'
import { parseDecimal, type PaxRecords } from './pax.ts'
import { TarSyntaxError } from './syntax.ts'

export interface SparseMap {
  readonly runs: readonly SparseRun[]
  readonly realSize: number
}

/** A run is two 12-byte numbers; the header block has room for 4, an extension block for 21. */
const RUN_BYTES = 24
const HEADER_RUNS = { at: 386, count: 4 }
const EXTENSION_RUNS = { at: 0, count: 21 }
const REAL_SIZE_AT = 483

/** The runs of an old GNU header block, or of a block that extends it, and whether another one follows. */
export function oldGnuRuns(
  block: Buffer,
  kind: 'header' | 'extension',
): { runs: SparseRun[]; more: boolean } {
  const { at, count } = kind === 'header' ? HEADER_RUNS : EXTENSION_RUNS
  const runs: SparseRun[] = []
  for (let i = 0; i < count; i++) {
    const offset = at + i * RUN_BYTES
    if (block[offset] === 0) break
    runs.push({
      offset: number(block, offset, 12, 'sparse offset'),
      length: number(block, offset + 12, 12, 'sparse length'),
    })
  }
  return { runs, more: block[at + count * RUN_BYTES] !== 0 }
}

/** The expanded size in an old GNU sparse header. */
export function oldGnuRealSize(block: Buffer): number {
  return number(block, REAL_SIZE_AT, 12, 'real size')
}

/** How the PAX records describe a sparse file: `list` in the records, `body` before the data, or not at all. */
export function paxSparseKind(records: PaxRecords): 'list' | 'body' | undefined {
  const major = records.get('GNU.sparse.major')?.toString('latin1') ?? ''
  const minor = records.get('GNU.sparse.minor')?.toString('latin1') ?? ''
  if (major === '1' && minor === '0') return 'body'
  if (major === '0' && (minor === '0' || minor === '1')) return 'list'
  if (major !== '' || minor !== '') return undefined
  return (records.get('GNU.sparse.map')?.length ?? 0) > 0 ? 'list' : undefined
}

/** The expanded size that the PAX records state, if they do. */
export function paxRealSize(records: PaxRecords): number | undefined {
  const value = records.get('GNU.sparse.size') ?? records.get('GNU.sparse.realsize')
  return value === undefined || value.length === 0 ? undefined : decimal(value)
}

/** The list of sparse format 0.0 and 0.1. */
export function paxRuns(records: PaxRecords): SparseRun[] {
  const count = decimal(records.get('GNU.sparse.numblocks') ?? Buffer.alloc(0))
  const list = records.get('GNU.sparse.map')?.toString('latin1') ?? ''
  const numbers = list === '' ? [] : list.split(',').map((value) => decimal(Buffer.from(value)))
  if (numbers.length !== 2 * count) throw new TarSyntaxError('the sparse map has a wrong number of runs')
  return pair(numbers)
}

/** How many lines end in `block`. */
export function lineCount(block: Buffer): number {
  let lines = 0
  for (let at = block.indexOf(NEWLINE); at >= 0; at = block.indexOf(NEWLINE, at + 1)) lines++
  return lines
}

const NEWLINE = 0x0a

/** The first line of a sparse format 1.0 map: how many runs follow, two lines each. */
export function bodyRunCount(blocks: Buffer): number {
  return decimal(blocks.subarray(0, blocks.indexOf(NEWLINE)))
}

/** The map of sparse format 1.0: a count, then offset and length of each run, in decimal, a line each. */
export function bodyRuns(blocks: Buffer): SparseRun[] {
  const count = bodyRunCount(blocks)
  const numbers: number[] = []
  for (let at = blocks.indexOf(NEWLINE) + 1; numbers.length < 2 * count;) {
    const end = blocks.indexOf(NEWLINE, at)
    numbers.push(decimal(blocks.subarray(at, end)))
    at = end + 1
  }
  return pair(numbers)
}

function decimal(value: Buffer): number {
  const parsed = parseDecimal(value)
  if (Number.isNaN(parsed)) throw new TarSyntaxError('the sparse map has something that is not a number')
  return parsed
}

function pair(numbers: readonly number[]): SparseRun[] {
  const runs: SparseRun[] = []
  for (let i = 0; i < numbers.length; i += 2) {
    runs.push({ offset: numbers[i] as number, length: numbers[i + 1] as number })
  }
  return runs
}

/** The map, when its runs are in order, do not overlap, lie inside the file and hold exactly `dataSize` bytes. */
export function sparseMap(runs: readonly SparseRun[], realSize: number, dataSize: number): SparseMap {
  let end = 0
  let data = 0
  for (const { offset, length } of runs) {
    if (offset < end || length < 0 || offset + length > realSize) {
      throw new TarSyntaxError('the sparse map has runs that overlap or lie outside the file')
    }
    end = offset + length
    data += length
  }
  if (data !== dataSize) {
    throw new TarSyntaxError(
      `the sparse map has ${String(data)} bytes of data, the member ${String(dataSize)}`,
    )
  }
  return { runs: runs.filter(({ length }) => length > 0), realSize }
}

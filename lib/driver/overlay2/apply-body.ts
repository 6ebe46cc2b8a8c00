/** Writes the body of a file: small ones whole, large and sparse ones piece by piece. */
import type { Bytes, OpMeta } from '../../native/binding.ts'
import type { SparseRun, TarEntry } from '../../tar/entry.ts'
import type { OpQueue } from './apply-queue.ts'

/** A file up to this size is one operation: its chunks are kept in memory until it is written. */
const SMALL_BYTES = 2 ** 20

export async function writeBody(queue: OpQueue, entry: TarEntry, path: Bytes, meta: OpMeta): Promise<void> {
  const { size, sparse } = entry.header
  if (sparse !== undefined) await writeSparse(queue, entry, path, meta, sparse.runs, sparse.realSize)
  else if (size > SMALL_BYTES)
    await writeSparse(queue, entry, path, meta, [{ offset: 0, length: size }], size)
  else await queue.file({ op: 'file', path, data: entry.bodyNow() ?? (await collect(entry)), ...meta }, size)
}

async function collect(entry: TarEntry): Promise<Buffer[]> {
  const chunks: Buffer[] = []
  for await (const chunk of entry.body()) chunks.push(chunk)
  return chunks
}

/** The file is made with its length, its runs are written in no order, and its metadata comes when all are there. */
async function writeSparse(
  queue: OpQueue,
  entry: TarEntry,
  path: Bytes,
  meta: OpMeta,
  runs: readonly SparseRun[],
  realSize: number,
): Promise<void> {
  queue.structure({ op: 'create', path, size: realSize })
  const cutter = new RunCutter(runs)
  for await (const chunk of entry.body()) {
    for (const { offset, data } of cutter.cut(chunk)) {
      await queue.file({ op: 'write', path, offset, data: [data] }, data.length)
    }
  }
  queue.late({ op: 'meta', path, ...meta })
}

/** Tells where in the file the bytes of a body go. */
class RunCutter {
  readonly #runs: readonly SparseRun[]
  #run = 0
  #done = 0

  constructor(runs: readonly SparseRun[]) {
    this.#runs = runs
  }

  *cut(chunk: Buffer): Generator<{ offset: number; data: Buffer }> {
    for (let at = 0; at < chunk.length;) {
      const run = this.#runs[this.#run]
      // The reader has checked that the runs add up to the body.
      if (run === undefined) throw new RangeError('the body is longer than its runs')
      const data = chunk.subarray(at, at + run.length - this.#done)
      yield { offset: run.offset + this.#done, data }
      at += data.length
      this.#done += data.length
      if (this.#done === run.length) {
        this.#run++
        this.#done = 0
      }
    }
  }
}

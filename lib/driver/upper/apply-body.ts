/** Writes the bodies of files: small ones whole, large and sparse ones piece by piece. */
import type { Bytes } from '../../native/binding.ts'
import type { OpMeta } from '../../native/file-op.ts'
import type { Piece } from '../../native/op-writer.ts'
import type { ChunkPool } from '../../tar/chunk-pool.ts'
import type { SparseRun, TarHeader } from '../../tar/entry.ts'
import type { OpQueue } from './apply-queue.ts'

/** A file up to this size is one operation: its memory is kept until all of it is there. */
const SMALL_BYTES = 512 * 1024

/** A file whose body is coming. */
export interface Body {
  add(bytes: Buffer, start: number, end: number): void
  end(): void
}

export interface BodyPlace {
  readonly queue: OpQueue
  readonly pool: ChunkPool
  /** The path of the folder, and of the file. */
  readonly folder: string
  readonly path: Bytes
}

/** Takes a file's body to where it belongs. */
export function bodyOf(place: BodyPlace, { size, sparse }: TarHeader, meta: OpMeta): Body {
  if (sparse !== undefined) return new RunsBody(place, meta, sparse.runs, sparse.realSize)
  if (size > SMALL_BYTES) return new RunsBody(place, meta, [{ offset: 0, length: size }], size)
  return new SmallBody(place, meta)
}

class SmallBody implements Body {
  readonly #place: BodyPlace
  readonly #meta: OpMeta
  readonly #pieces: Piece[] = []

  constructor(place: BodyPlace, meta: OpMeta) {
    this.#place = place
    this.#meta = meta
  }

  add(buffer: Buffer, start: number, end: number): void {
    this.#place.pool.retain(buffer)
    this.#pieces.push({ buffer, start, end })
  }

  end(): void {
    const { queue, pool, folder, path } = this.#place
    queue.file(folder, path, this.#pieces, this.#meta)
    for (const { buffer } of this.#pieces) pool.release(buffer as Buffer)
  }
}

/** The file is made with its length, its runs are written in order, and its metadata comes when all are there. */
class RunsBody implements Body {
  readonly #place: BodyPlace
  readonly #meta: OpMeta
  readonly #runs: readonly SparseRun[]
  #run = 0
  /** Bytes of the run that are written. */
  #done = 0

  constructor(place: BodyPlace, meta: OpMeta, runs: readonly SparseRun[], realSize: number) {
    this.#place = place
    this.#meta = meta
    this.#runs = runs
    place.queue.structure.create(place.path, realSize)
  }

  add(buffer: Buffer, start: number, end: number): void {
    const { queue, path } = this.#place
    for (let at = start; at < end;) {
      const run = this.#runs[this.#run]
      // The reader has checked that the runs add up to the body.
      if (run === undefined) throw new RangeError('the body is longer than its runs')
      const stop = Math.min(end, at + run.length - this.#done)
      queue.write(path, run.offset + this.#done, { buffer, start: at, end: stop })
      this.#done += stop - at
      at = stop
      if (this.#done === run.length) {
        this.#run++
        this.#done = 0
      }
    }
  }

  end(): void {
    this.#place.queue.late.meta(this.#place.path, this.#meta)
  }
}

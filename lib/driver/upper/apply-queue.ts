/**
 * Runs the operations of an unpacking in batches, several at once, in bounded memory.
 *
 * Making files is what takes the time, and the kernel makes them faster by several threads than by one, as long as
 * these are in different folders. So files go in lanes, a folder's in one of them, and the parts of large files in one
 * of their own; what gives the tree its shape (directories, symlinks, devices) runs in order before the files that need
 * it; and what needs the files themselves comes at a barrier:
 *
 *     structure 1 → structure 2 → structure 3 …        one after another
 *            ↘ lane A 1 · lane B 1  ↘ lane A 2         as many at once as there are creators
 *            ↘ parts 1 → parts 2 …                     one after another
 *                                        ↘ barrier: metadata of large files, then hard links
 *
 * All calls add and none waits; {@link OpQueue.room} does.
 */
import pLimit from 'p-limit'
import { binding, type Bytes } from '../../native/binding.ts'
import type { OpMeta } from '../../native/file-op.ts'
import { OpWriter, type Piece } from '../../native/op-writer.ts'
import type { ChunkPool } from '../../tar/chunk-pool.ts'
import { AT, type PlainRun } from '../../tar/plain-run.ts'
import type { Folder } from './apply-tree.ts'

/** A batch is this many operations or bytes at most: enough to make a thread for it worth it. */
const BATCH_OPS = 256
const BATCH_BYTES = 2 * 2 ** 20
/** Batches on their way; more only hold memory. */
const MAX_BATCHES = 6

/**
 * Batches that make files at once, of all layers that are being unpacked. Four are faster than two on two processors:
 * one that waits (on ext4 two that make files in one block group wait for its inode table) leaves its to another.
 */
const CREATORS = 4
const creators = pLimit(CREATORS)

interface Lane {
  ops: OpWriter
  bytes: number
}

function newLane(): Lane {
  return { ops: new OpWriter(), bytes: 0 }
}

/** Batches that ran, to be filled again: fresh memory for each is what garbage collection would take its time with. */
class Spares {
  readonly #ops: OpWriter[] = []

  take(): OpWriter {
    return this.#ops.pop() ?? new OpWriter()
  }

  give(ops: OpWriter): void {
    ops.clear()
    this.#ops.push(ops)
  }
}

function loadOf({ ops, bytes }: Lane): number {
  return ops.count / BATCH_OPS + bytes / BATCH_BYTES
}

function isFull({ ops, bytes }: Lane): boolean {
  return ops.count >= BATCH_OPS || bytes >= BATCH_BYTES
}

/** Any number of operations, in batches. */
class Series {
  readonly batches: OpWriter[] = []

  get next(): OpWriter {
    const last = this.batches.at(-1)
    if (last !== undefined && last.count < BATCH_OPS) return last
    const batch = new OpWriter()
    this.batches.push(batch)
    return batch
  }
}

export class OpQueue {
  readonly #root: number
  readonly #pool: ChunkPool
  readonly #signal: AbortSignal | undefined
  readonly #spares = new Spares()
  #structure = new OpWriter()
  readonly #lanes: Lane[] = Array.from({ length: CREATORS }, newLane)
  /** Of the large file that is coming in. */
  readonly #parts: Lane = newLane()
  /** Settles when the parts so far are written; never rejects. */
  #written: Promise<void> = Promise.resolve()
  #late = new Series()
  #links = new Series()
  /** Settles when the structure so far is there; never rejects. */
  #structured: Promise<void> = Promise.resolve()
  readonly #running = new Set<Promise<void>>()
  #lastFolder: string | undefined
  #lastLane: Lane = this.#lanes[0] as Lane
  #failure: { readonly error: unknown } | undefined

  /** @param pool owns the memory of the pieces that are given here */
  constructor(root: number, pool: ChunkPool, signal: AbortSignal | undefined) {
    this.#root = root
    this.#pool = pool
    this.#signal = signal
  }

  /** For an operation that comes in order with its like, and before the files that are added after it. */
  get structure(): OpWriter {
    if (this.#structure.count >= BATCH_OPS) this.#submitStructure()
    return this.#structure
  }

  /** A new file in `folder`, after the structure so far. */
  file(folder: string, path: Bytes, pieces: readonly Piece[], meta: OpMeta): void {
    const lane = this.#laneFor(folder)
    this.#add(lane, pieces, (ops) => {
      ops.file(path, pieces, meta)
    })
    if (isFull(lane)) this.#submitLane(lane)
  }

  /** A file of a run, with a name that is new in `folder`. */
  runFile({ path, prefix }: Folder, run: PlainRun, index: number): void {
    const lane = this.#laneFor(path)
    const size = run.word(index, AT.size)
    if (size > 0 && !lane.ops.has(run.bytes)) this.#pool.retain(run.bytes)
    lane.ops.runFile(prefix, run, index)
    lane.bytes += size
    if (isFull(lane)) this.#submitLane(lane)
  }

  /** A part of a large file that {@link structure} created. Parts are written one after another: a file has one lock. */
  write(path: Bytes, offset: number, piece: Piece): void {
    this.#add(this.#parts, [piece], (ops) => {
      ops.write(path, offset, [piece])
    })
    if (isFull(this.#parts)) this.#submitParts()
  }

  /** For an operation after all files so far. */
  get late(): OpWriter {
    return this.#late.next
  }

  /** For an operation after all files and {@link late} ones so far. */
  get links(): OpWriter {
    return this.#links.next
  }

  #add(lane: Lane, pieces: readonly Piece[], add: (ops: OpWriter) => void): void {
    const known = lane.ops.buffers.length
    add(lane.ops)
    for (let i = known; i < lane.ops.buffers.length; i++) this.#pool.retain(lane.ops.buffers[i] as Buffer)
    for (const { start, end } of pieces) lane.bytes += end - start
  }

  /** A folder stays in its lane while its files come together; else the emptier one takes it. */
  #laneFor(folder: string): Lane {
    if (folder !== this.#lastFolder) {
      this.#lastFolder = folder
      this.#lastLane = this.#lanes.reduce((least, lane) => (loadOf(lane) < loadOf(least) ? lane : least))
    }
    return this.#lastLane
  }

  #submitStructure(): void {
    if (this.#structure.count === 0) return
    const ops = this.#structure
    this.#structure = this.#spares.take()
    this.#structured = this.#track(this.#structured.then(() => this.#run(ops)))
  }

  #submitLane(lane: Lane): void {
    if (lane.ops.count === 0) return
    // Another folder's files may go elsewhere now, and more of this one's.
    this.#lastFolder = undefined
    void this.#submit(lane)
  }

  #submitParts(): void {
    if (this.#parts.ops.count > 0) this.#written = this.#submit(this.#parts, this.#written)
  }

  /** Has a creator run what is in the lane, after the structure so far and after `before`. */
  #submit(lane: Lane, before?: Promise<void>): Promise<void> {
    const { ops } = lane
    lane.ops = this.#spares.take()
    lane.bytes = 0
    this.#submitStructure()
    const ready = Promise.all([this.#structured, before])
    return this.#track(ready.then(() => creators(() => this.#run(ops))))
  }

  #submitAll(): void {
    for (const lane of this.#lanes) this.#submitLane(lane)
    this.#submitParts()
    this.#submitStructure()
  }

  /** What is added from here on waits for all that was added so far: before something is removed or replaced. */
  barrier(): void {
    this.#submitAll()
    const before = [...this.#running]
    const [late, links] = [this.#late, this.#links]
    this.#late = new Series()
    this.#links = new Series()
    const rest = async (): Promise<void> => {
      await Promise.all(before)
      for (const ops of [...late.batches, ...links.batches]) await this.#run(ops)
    }
    this.#structured = this.#track(rest())
  }

  /** Waits while too much is on its way. @throws the first failure; the signal's reason */
  async room(): Promise<void> {
    this.#check()
    while (this.#running.size > MAX_BATCHES) await Promise.race(this.#running)
    this.#check()
  }

  /** Runs all there is, and `last` after it, in no order. Same errors. */
  async finish(last: (next: () => OpWriter) => void): Promise<void> {
    this.barrier()
    const series = new Series()
    last(() => series.next)
    await this.#structured
    this.#check()
    for (const ops of series.batches) void this.#track(creators(() => this.#run(ops)))
    await this.quiet()
    this.#check()
  }

  /** Waits until nothing runs any more, whether it fails or not: only then may the root be closed. */
  async quiet(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  /** Nothing once something has failed. */
  async #run(ops: OpWriter): Promise<void> {
    try {
      if (this.#failure !== undefined) return
      this.#signal?.throwIfAborted()
      await binding.fileops(this.#root, ops.code, ops.buffers)
    } finally {
      for (const buffer of ops.buffers) this.#pool.release(buffer as Buffer)
      this.#spares.give(ops)
    }
  }

  /** Remembers the failure of `work`; the promise it gives never rejects. */
  #track(work: Promise<void>): Promise<void> {
    const tracked = work
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => this.#running.delete(tracked))
    this.#running.add(tracked)
    return tracked
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }
}

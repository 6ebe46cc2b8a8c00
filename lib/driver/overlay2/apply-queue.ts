/**
 * Runs the operations of an unpacking in batches on the thread pool, several at once, in bounded memory.
 *
 * Making files is what takes the time, and the kernel makes them faster by two threads than by one. So files go in
 * batches of their own that run beside one another; what gives the tree its shape (directories, symlinks, devices)
 * runs in order before the files that need it; and what needs the files themselves comes at a barrier:
 *
 *     structure 1 → structure 2 → structure 3 …        one after another
 *            ↘ files 1     ↘ files 2                   at most RUNNING at once
 *                                        ↘ barrier: metadata of large files, then hard links
 */
import { binding, type FileOp } from '../../native/binding.ts'

/** A batch is this many operations or bytes at most: enough to make a turn of the pool worth it. */
const BATCH_OPS = 256
const BATCH_BYTES = 2 * 2 ** 20
/** Batches of files that run at once: more creators than two only meet in the same folders. */
const RUNNING = 2

export class OpQueue {
  readonly #root: number
  readonly #signal: AbortSignal | undefined
  #structure: FileOp[] = []
  #files: FileOp[] = []
  #bytes = 0
  #late: FileOp[] = []
  #links: FileOp[] = []
  #structured: Promise<void> = Promise.resolve()
  readonly #running = new Set<Promise<void>>()
  #failure: { readonly error: unknown } | undefined

  constructor(root: number, signal: AbortSignal | undefined) {
    this.#root = root
    this.#signal = signal
  }

  /** In order with its like, and before the files that are added after it. */
  structure(op: FileOp): void {
    this.#structure.push(op)
  }

  /** A new file, or a part of one that {@link structure} created; in no order. Await what it returns. */
  async file(op: FileOp, bytes: number): Promise<void> {
    this.#files.push(op)
    this.#bytes += bytes
    if (this.#isFull()) await this.#submit()
  }

  /** After all files so far. */
  late(op: FileOp): void {
    this.#late.push(op)
  }

  /** After all files and {@link late} operations so far. */
  link(op: FileOp): void {
    this.#links.push(op)
  }

  /** Waits when many directories and links came without a file. */
  async breathe(): Promise<void> {
    if (this.#isFull()) await this.#submit()
  }

  #isFull(): boolean {
    return this.#bytes >= BATCH_BYTES || this.#files.length + this.#structure.length >= BATCH_OPS
  }

  /** All that was added is done when this resolves; before something is removed or replaced. */
  async barrier(): Promise<void> {
    await this.#submit()
    await Promise.all(this.#running)
    this.#check()
    const [late, links] = [this.#late, this.#links]
    this.#late = []
    this.#links = []
    for (const ops of [late, links]) await this.#inBatches(ops)
  }

  async #inBatches(ops: readonly FileOp[]): Promise<void> {
    for (let at = 0; at < ops.length; at += BATCH_OPS) {
      this.#signal?.throwIfAborted()
      await binding.fileops(this.#root, ops.slice(at, at + BATCH_OPS))
    }
  }

  /** After everything, in order. */
  async finish(ops: readonly FileOp[]): Promise<void> {
    await this.barrier()
    await this.#inBatches(ops)
  }

  /** Waits until nothing runs any more, whether it fails or not: only then may the root be closed. */
  async quiet(): Promise<void> {
    await Promise.allSettled([this.#structured, ...this.#running])
  }

  async #submit(): Promise<void> {
    this.#signal?.throwIfAborted()
    const [structure, files] = [this.#structure, this.#files]
    this.#structure = []
    this.#files = []
    this.#bytes = 0
    if (structure.length > 0) {
      this.#structured = this.#structured.then(() => binding.fileops(this.#root, structure))
      this.#track(this.#structured)
    }
    if (files.length > 0) this.#track(this.#structured.then(() => binding.fileops(this.#root, files)))
    while (this.#running.size > RUNNING) await Promise.race(this.#running)
    this.#check()
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => this.#running.delete(tracked))
    this.#running.add(tracked)
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }
}

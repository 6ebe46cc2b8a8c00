import type { MultiBar, SingleBar } from 'cli-progress'
import type { Progress } from '../store/progress.ts'
import { humanSize, shortID } from './format.ts'
import type { Context } from './verb.ts'

/** Shows how far each layer is, on stderr, while a verb works. */
export interface ProgressDisplay extends Disposable {
  /** For the store's `onProgress`; absent when nobody would see it. */
  readonly onProgress?: (progress: Progress) => void
}

/** Bars when stderr is a terminal and neither --quiet nor --json was given; otherwise nothing at all. */
export async function showProgress({ host, out }: Context): Promise<ProgressDisplay> {
  if (host.stderr.isTTY !== true || out.quiet || out.json) return { [Symbol.dispose]() {} }
  const { default: library } = await import('cli-progress')
  const bars = new library.MultiBar({
    stream: host.stderr as NodeJS.WritableStream,
    format: '{layer}  {bar}  {amount}',
    barCompleteChar: '=',
    barIncompleteChar: ' ',
    barsize: 40,
    hideCursor: true,
    clearOnComplete: true,
    // Signals are main.ts's; the cursor comes back when the verb ends and disposes of the display.
    gracefulExit: false,
  })
  return new Bars(bars)
}

/** One bar for each layer that is being worked on; a finished one becomes a line above them. */
class Bars implements ProgressDisplay {
  readonly #bars: MultiBar
  readonly #byID = new Map<string, SingleBar>()

  constructor(bars: MultiBar) {
    this.#bars = bars
  }

  readonly onProgress = (progress: Progress): void => {
    const { id, done, total, state } = progress
    if (state === 'done' || state === 'exists') return this.#finish(progress)
    const amount = total === undefined ? humanSize(done) : `${humanSize(done)} / ${humanSize(total)}`
    const payload = { layer: shortID(id), amount: done === 0 ? state : amount }
    let bar = this.#byID.get(id)
    if (bar === undefined) {
      // A waiting layer has no bar yet: an image may have more layers than the terminal has lines.
      if (state === 'waiting') return
      bar = this.#bars.create(total ?? 1, 0, payload)
      this.#byID.set(id, bar)
    }
    bar.setTotal(total ?? Math.max(1, done * 2))
    bar.update(done, payload)
  }

  #finish({ id, done, state }: Progress): void {
    const bar = this.#byID.get(id)
    if (bar !== undefined) this.#bars.remove(bar)
    this.#byID.delete(id)
    this.#bars.log(`${shortID(id)}  ${state === 'exists' ? 'already there' : humanSize(done)}\n`)
  }

  [Symbol.dispose](): void {
    this.#bars.stop()
  }
}

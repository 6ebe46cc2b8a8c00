import type { MultiBar, SingleBar } from 'cli-progress'
import type { OnProgress, Progress } from '../store/progress.ts'
import { humanSize, shortID } from './format.ts'
import type { Context } from './verb.ts'

/**
 * Runs `work` with an `onProgress` that shows how far each layer is: bars when stderr is a terminal and neither
 * --quiet nor --json was given; otherwise nothing at all, and no `onProgress` either.
 */
export async function withProgress<T>(
  { host, out }: Context,
  work: (options: { readonly onProgress?: OnProgress }) => Promise<T>,
): Promise<T> {
  if (host.stderr.isTTY !== true || out.quiet || out.json) return await work({})
  const { default: library } = await import('cli-progress')
  const bars = new library.MultiBar({
    stream: host.stderr,
    format: '{layer}  {bar}  {amount}',
    barCompleteChar: '=',
    barIncompleteChar: ' ',
    barsize: 40,
    hideCursor: true,
    clearOnComplete: true,
    // Signals are main.ts's; stop() gives the cursor back when one has ended the work.
    gracefulExit: false,
  })
  try {
    return await work({ onProgress: showOn(bars) })
  } finally {
    // stop() would drop the lines of what finished since the last repaint.
    bars.update()
    bars.stop()
  }
}

/** One bar for each layer that is being worked on; a finished one becomes a line above them. */
function showOn(bars: MultiBar): OnProgress {
  const working = new Map<string, { readonly bar: SingleBar; readonly amount: string }>()
  const finish = ({ id, state }: Progress): void => {
    const last = working.get(id)
    if (last !== undefined) bars.remove(last.bar)
    working.delete(id)
    bars.log(`${shortID(id)}  ${state === 'exists' ? 'already there' : (last?.amount ?? 'done')}\n`)
  }
  return (progress) => {
    const { kind, id, done, total, state } = progress
    // A waiting layer has no bar yet: an image may have more layers than the terminal has lines.
    if (kind !== 'layer' || state === 'waiting') return
    if (state === 'done' || state === 'exists') return finish(progress)
    const amount = humanSize(done)
    const payload = {
      layer: shortID(id),
      amount: total === undefined ? amount : `${amount} / ${humanSize(total)}`,
    }
    // Without a total the bar stays half full; the amount tells that it moves.
    const length = total ?? Math.max(1, done * 2)
    const bar = working.get(id)?.bar ?? bars.create(length, 0, payload)
    working.set(id, { bar, amount })
    bar.setTotal(length)
    bar.update(done, payload)
  }
}

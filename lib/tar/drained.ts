import type { Writable } from 'node:stream'

/** Resolves when a stream takes more, and also when it was closed, by a reader that has had enough. */
export function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.on('drain', done).on('close', done)
  })
}

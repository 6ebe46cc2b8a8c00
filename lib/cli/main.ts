#!/usr/bin/env node
/** The process around the command: its streams, its signals, its exit status. */
import { Interrupt, type EndingSignal } from './interrupt.ts'
import { main } from './program.ts'

const controller = new AbortController()

/** The first signal asks the verb to stop and clean up; a second does not wait for that. */
function onSignal(name: EndingSignal): void {
  const interrupt = new Interrupt(name)
  if (controller.signal.aborted) process.exit(interrupt.status)
  controller.abort(interrupt)
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => onSignal(name))

// A failed write is told to whoever wrote; without listeners Node would end the process for it as well.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

const status = await main(process.argv.slice(2), {
  env: process.env,
  stdin: () => process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: controller.signal,
  now: () => new Date(),
  openStore: async (root, options) => (await import('../store/store.ts')).Store.open(root, options),
})

process.exitCode = status
// What was cut off may still be waited for, such as the opening of a fifo that nobody writes to.
if (controller.signal.aborted) process.exit(status)

#!/usr/bin/env node
/** The process around the command: its streams, its signals, its exit status. */
import { Interrupt, type EndingSignal } from './interrupt.ts'
import { main } from './program.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** How long a process that was told to stop may take to end when its work is over. */
const ENDING_MS = 500

const controller = new AbortController()

/** The first signal asks the verb to stop and clean up; a second does not wait for that. */
function onSignal(name: EndingSignal): void {
  if (controller.signal.aborted) process.exit(new Interrupt(name).status)
  controller.abort(new Interrupt(name))
}

/**
 * What was cut off may still be waited for: nothing cancels the opening of a fifo that nobody writes to, and
 * process.exit() would wait for the thread that is in it. Then the signal itself ends the process.
 */
function endBySignal({ signal }: Interrupt): void {
  for (const name of SIGNALS) process.removeAllListeners(name)
  setTimeout(() => process.kill(process.pid, signal), ENDING_MS).unref()
}

for (const name of SIGNALS) process.on(name, () => onSignal(name))

// A failed write is told to whoever wrote; without listeners Node would end the process for it as well.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

async function run(): Promise<void> {
  process.exitCode = await main(process.argv.slice(2), {
    env: process.env,
    stdin: () => process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: controller.signal,
    now: () => new Date(),
    openStore: async (root, options) => (await import('../store/store.ts')).Store.open(root, options),
  })
  if (controller.signal.aborted) endBySignal(controller.signal.reason as Interrupt)
}

// No await: the build is CommonJS, which has none at its top.
void run()

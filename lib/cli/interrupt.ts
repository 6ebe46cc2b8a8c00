import { constants } from 'node:os'

/** Signals that end the command cleanly. SIGPIPE stands for stdout closed by its reader; Node never gets it. */
export type EndingSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'SIGPIPE'

/** Why the command was stopped from outside: the reason of the abort signal that every verb passes on. */
export class Interrupt extends Error {
  override readonly name: string = 'Interrupt'
  readonly code: string = 'ABORT_ERR'
  readonly signal: EndingSignal

  constructor(signal: EndingSignal) {
    super(`interrupted by ${signal}`)
    this.signal = signal
  }

  /** The exit status a shell gives a process that this signal ended. */
  get status(): number {
    return 128 + constants.signals[this.signal]
  }
}

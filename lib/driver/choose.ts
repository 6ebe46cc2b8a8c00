/** The driver for a data root that has no state yet, and for which none was named: the first of Docker's that works. */
import { OverlaidError } from '../errors.ts'
import { type DriverAnswer, isUnsupported, tryDriver } from './answer.ts'
import type { Driver } from './driver.ts'
import { type DriverOptions, openDriver } from './drivers.ts'
import { DOCKER_ORDER } from './order.ts'
import { driverOfState } from './state.ts'

export interface ChooseOptions extends DriverOptions {
  readonly order: readonly string[]
  readonly onWarning: (message: string) => void
}

export interface Choice {
  readonly driver: Driver
  /** Whether it was tried just now. */
  readonly verified: boolean
}

/**
 * Tries one driver after the other. One that says "not here" is passed over; any other failure ends it, since it
 * would only hide what is to be mended. That a better one was passed over is warned of.
 * @throws what ended it; ERR_UNSUPPORTED_FS with all refusals when none works
 */
export async function chooseDriver(root: string, options: ChooseOptions): Promise<Choice> {
  // Whoever was here first while this process did not write has decided.
  const name = driverOfState(root)
  if (name !== undefined) return { driver: await openDriver(name, root, options), verified: false }
  const refused: DriverAnswer[] = []
  for (const name of options.order) {
    const trial = await tryDriver(name, root, options)
    if ('driver' in trial) {
      warnOfFallback(root, trial.answer, refused, options.onWarning)
      return { driver: trial.driver, verified: true }
    }
    if (!isUnsupported(trial.answer)) throw trial.error
    refused.push(trial.answer)
  }
  throw noneWorks(root, refused)
}

/** Better is what Docker prefers today: an older release's order may prefer what nobody misses. */
function warnOfFallback(
  root: string,
  { name, cost }: DriverAnswer,
  refused: readonly DriverAnswer[],
  onWarning: (message: string) => void,
): void {
  const better = refused.filter((answer) => rank(answer.name) < rank(name))
  if (better.length === 0) return
  const costs = cost === undefined ? '' : ` (${cost})`
  onWarning(`${root} gets the storage driver ${name}${costs}, since ${better.map(asClause).join('; ')}`)
}

function rank(name: string): number {
  const at = DOCKER_ORDER.indexOf(name)
  return at < 0 ? DOCKER_ORDER.length : at
}

function asClause({ name, reason = '', remedy }: DriverAnswer): string {
  return `${name} is refused: ${reason}${remedy === undefined ? '' : ` (cure: ${remedy})`}`
}

function noneWorks(root: string, refused: readonly DriverAnswer[]): OverlaidError {
  const [first] = refused
  return new OverlaidError('ERR_UNSUPPORTED_FS', `no storage driver works on ${root}`, {
    path: root,
    detail: refused.map(({ name, reason = '' }) => `${name}: ${reason}`),
    ...(first?.remedy === undefined ? {} : { hint: first.remedy }),
  })
}

/** What each driver of an order answers about a data root, and which of them a new store there would get. */
import { type DriverAnswer, factsOf, isUnsupported, tryDriver } from '../driver/answer.ts'
import { hasCode } from '../errors.ts'
import { requireWriting } from './privilege.ts'

/** Asks them all. Without the privileges that every driver needs there is nothing to find out: each says so. */
export async function askDrivers(root: string, order: readonly string[]): Promise<DriverAnswer[]> {
  const lack = lackOfPrivilege()
  const answers: DriverAnswer[] = []
  for (const name of order) {
    if (lack !== undefined) answers.push({ name, usable: false, ...factsOf(lack) })
    // One after the other: two trials of mounting would only wait for each other.
    else answers.push((await tryDriver(name, root, { durability: 'none' })).answer)
  }
  return answers
}

/** The driver that a store would choose; none where what fails is nothing that another driver mends. */
export function firstThatWorks(answers: readonly DriverAnswer[]): string | undefined {
  const first = answers.find((answer) => answer.usable || !isUnsupported(answer))
  return first?.usable === true ? first.name : undefined
}

function lackOfPrivilege(): Error | undefined {
  try {
    requireWriting()
    return undefined
  } catch (error) {
    if (error instanceof Error && hasCode(error, 'ERR_NO_PRIVILEGE')) return error
    throw error
  }
}

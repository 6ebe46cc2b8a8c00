/** Whether the driver can work here, what it stands on, and what check() finds. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Cases, type Given, ID } from './cases.ts'

export function checkingCases(cases: Cases): void {
  cases.describe('the home', () => {
    cases.it('is looked at by verify without leaving anything, and made by prepare, twice too', prepares)
    cases.it('says what it stands on', async ({ driver }) => {
      const status = new Map(await driver.status())
      assert.match(status.get('Backing Filesystem') ?? '', /^[a-z0-9]+$/)
    })
    cases.it('is clean when new, and in it is found what nobody knows', findsOrphans)
    cases.it('is told to lack a layer that is known and not there', findsMissing)
  })
}

async function prepares({ driver }: Given): Promise<void> {
  const parent = dirname(driver.home)
  const before = namesIn(parent)
  await driver.verify()
  assert.deepEqual(namesIn(parent), before)
  await driver.prepare()
  await driver.prepare()
  assert.deepEqual(await driver.list(), [])
}

async function findsOrphans({ driver }: Given): Promise<void> {
  await driver.create(ID('a'), undefined)
  await driver.create(ID('b'), ID('a'))
  const known = new Map([[ID('a'), undefined]])
  assert.deepEqual(await driver.check(new Map([...known, [ID('b'), ID('a')]])), [])
  const problems = await driver.check(known)
  assert.deepEqual(
    problems.map(({ kind, severity }) => [kind, severity]),
    [['orphan-layer', 'rubbish']],
  )
  for (const problem of problems) await problem.repair?.()
  assert.deepEqual(await driver.list(), [ID('a')])
}

async function findsMissing({ driver }: Given): Promise<void> {
  await driver.create(ID('a'), undefined)
  const known = new Map([[ID('a'), undefined] as const, [ID('c'), ID('a')] as const])
  const problems = await driver.check(known)
  const missing = problems.filter(({ kind }) => kind === 'missing-layer')
  assert.deepEqual(
    missing.map(({ id, severity }) => [id, severity]),
    [[ID('c'), 'damage']],
  )
}

/** The folder may itself be for the driver to make. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Ids: which are taken, which are refused, which are not there. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { createBase, expectBase } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'

const REFUSED = ['', '.', '..', '../x', 'a/b', '/etc', 'a\0b', '-x', ' ', 'é', 'x'.repeat(129)]
const TAKEN = [ID('f'), `${ID('f')}-init`, 'w8pujs3fk2l0zqxm4d7y1ab5c', 'base', 'a.b_c-1']

export function namingCases(cases: Cases): void {
  cases.describe('naming', () => {
    for (const id of REFUSED)
      cases.it(`refuses ${JSON.stringify(id)} before it gets into a path`, (given) => refuses(given, id))
    for (const id of TAKEN) {
      cases.it(`takes ${JSON.stringify(id)}`, async ({ driver }) => {
        await driver.create(id, undefined)
        assert.deepEqual(await driver.list(), [id])
      })
    }
    cases.it('refuses an id that is taken, and keeps what has it', keepsTaken)
    cases.it('gives one of several makers of an id the folder', oneMaker)
    cases.it('knows what is not there', notThere)
    cases.it('tells the parent', tellsParent)
    cases.it('lists every layer once, mounted or not, and so does another process', listsAll)
  })
}

async function refuses({ driver }: Given, id: string): Promise<void> {
  const refusal = { code: 'ERR_INVALID_ARGUMENT' }
  await assert.rejects(driver.create(id, undefined), refusal)
  await assert.rejects(driver.exists(id), refusal)
  await assert.rejects(driver.get(id), refusal)
  await assert.rejects(driver.remove(id), refusal)
}

async function keepsTaken(given: Given): Promise<void> {
  const { driver } = given
  const taken = { code: 'ERR_ALREADY_EXISTS' }
  await createBase(given, ID('a'))
  await assert.rejects(driver.create(ID('a'), undefined), taken)
  await assert.rejects(driver.createReadWrite(ID('a'), undefined), taken)
  await given.inside(ID('a'), expectBase)
  assert.deepEqual(await driver.check(new Map([[ID('a'), undefined]])), [])
}

async function oneMaker({ driver }: Given): Promise<void> {
  const made = await Promise.allSettled([1, 2, 3, 4].map(() => driver.create(ID('a'), undefined)))
  const reasons = made.flatMap((result): unknown[] => (result.status === 'rejected' ? [result.reason] : []))
  assert.deepEqual(
    reasons.map((reason) => (reason as { code?: unknown }).code),
    Array<string>(3).fill('ERR_ALREADY_EXISTS'),
  )
  assert.deepEqual(await driver.check(new Map([[ID('a'), undefined]])), [])
}

async function notThere(given: Given): Promise<void> {
  const { driver } = given
  const missing = { code: 'ERR_LAYER_NOT_FOUND' }
  assert.equal(await driver.exists(ID('a')), false)
  await assert.rejects(driver.create(ID('b'), ID('a')), missing)
  await assert.rejects(driver.createReadWrite(ID('b'), ID('a')), missing)
  await assert.rejects(driver.get(ID('a')), missing)
  await assert.rejects(driver.parent(ID('a')), missing)
  await assert.rejects(driver.metadata(ID('a')), missing)
  await assert.rejects(driver.openFiles(ID('a')), missing)
  await assert.rejects(driver.diskUsage(ID('a')), missing)
  await assert.rejects(driver.quota(ID('a')), missing)
  await assert.rejects(given.diff(ID('a'), undefined), missing)
  assert.deepEqual(await driver.list(), [])
}

async function tellsParent({ driver, supports }: Given): Promise<void> {
  await driver.create(ID('a'), undefined)
  await driver.create(ID('b'), ID('a'))
  await driver.createReadWrite(ID('c'), ID('b'))
  assert.equal(await driver.parent(ID('a')), undefined)
  assert.equal(await driver.parent(ID('b')), ID('a'))
  assert.equal(await driver.parent(ID('c')), ID('b'))
  const { lowerdir, upperdir } = await driver.metadata(ID('c'))
  const isNamed = lowerdir.map((path) => path.includes(ID('b')) || path.includes(ID('a')))
  assert.deepEqual(isNamed, supports.lowerdirs ? [true, true] : [])
  assert.equal(existsSync(upperdir), supports.folders)
}

async function listsAll(given: Given): Promise<void> {
  const { driver } = given
  const parents = [undefined, ID('0'), ID('0'), ID('1'), ID('1')]
  const ids = parents.map((_, index) => ID(String(index)))
  for (const [index, parent] of parents.entries()) await driver.createReadWrite(ids[index] ?? '', parent)
  await given.inside(ID('3'), async () => {
    assert.deepEqual((await driver.list()).sort(), ids)
    const other = await given.reopen()
    assert.deepEqual((await other.list()).sort(), ids)
    for (const [index, id] of ids.entries()) assert.equal(await other.parent(id), parents[index])
  })
}

/** What remove() forgets, and what it leaves alone. */
import assert from 'node:assert/strict'
import { createBase, expectBase } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'
import { fileAt } from './tree.ts'

export function removalCases(cases: Cases): void {
  cases.describe('remove', () => {
    cases.it('forgets a layer at once and frees its bytes later', forgets)
    cases.it('is deleted in the background, and idle waits for that', deletesSoon)
    cases.it('does not mind a layer that is not there', ({ driver }) => driver.remove(ID('a')))
    cases.it('leaves siblings and those below as they are', leavesOthers)
    cases.needs('mounts', 'leaves a mounted layer alone, whoever mounted it', leavesMounted)
  })
}

async function forgets(given: Given): Promise<void> {
  const { driver } = given
  await createBase(given, ID('a'))
  await driver.remove(ID('a'))
  assert.equal(await driver.exists(ID('a')), false)
  assert.deepEqual(await driver.list(), [])
  assert.ok((await driver.emptyTrash()) > 0)
  assert.equal(await driver.emptyTrash(), 0)
  assert.deepEqual(await driver.check(new Map()), [])
  await driver.create(ID('a'), undefined)
}

async function deletesSoon(given: Given): Promise<void> {
  const { driver } = given
  await createBase(given, ID('a'))
  await driver.remove(ID('a'))
  driver.emptyTrashSoon()
  await driver.idle()
  assert.equal(await driver.emptyTrash(), 0)
  assert.deepEqual(await driver.check(new Map()), [])
}

/** RemoveIntermediateSnapshot: whoever counts children is the store; what goes first is the top. */
async function leavesOthers(given: Given): Promise<void> {
  const { driver } = given
  await createBase(given, ID('a'))
  for (const id of [ID('b'), ID('c')]) await given.layer(id, ID('a'), [fileAt('own', id)])
  const before = await given.dump(ID('c'))
  await driver.remove(ID('b'))
  await driver.emptyTrash()
  assert.deepEqual(await given.dump(ID('c')), before)
  await given.inside(ID('a'), expectBase)
  await given.layer(ID('b'), ID('c'), [fileAt('again', '')])
  assert.deepEqual((await driver.list()).sort(), [ID('a'), ID('b'), ID('c')])
}

async function leavesMounted(given: Given): Promise<void> {
  const { driver } = given
  await createBase(given, ID('a'))
  await driver.createReadWrite(ID('b'), ID('a'))
  await driver.get(ID('b'))
  await assert.rejects(driver.remove(ID('b')), { code: 'ERR_IN_USE' })
  await assert.rejects((await given.reopen()).remove(ID('b')), { code: 'ERR_IN_USE' })
  expectBase(await driver.get(ID('b')))
  await driver.put(ID('b'))
  await driver.put(ID('b'))
  await driver.remove(ID('b'))
}

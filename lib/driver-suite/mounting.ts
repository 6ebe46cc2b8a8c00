/** get, put and open. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createBase, expectBase } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'
import { mountsBelow } from './leaks.ts'

export function mountingCases(cases: Cases): void {
  cases.describe('get and put', () => {
    placeCases(cases)
    otherProcessCases(cases)
    endCases(cases)
    readOnlyCases(cases)
  })
  cases.describe('open', () => openCases(cases))
}

/** A base `a`, and on it `b`. */
async function twoLayers(given: Given): Promise<void> {
  await createBase(given, ID('a'))
  await given.driver.createReadWrite(ID('b'), ID('a'))
}

function placeCases(cases: Cases): void {
  cases.it('gives one place until the last put', async (given) => {
    const { driver } = given
    await twoLayers(given)
    const root = await driver.get(ID('b'))
    assert.equal(await driver.get(ID('b')), root)
    await driver.put(ID('b'))
    expectBase(root)
    await driver.put(ID('b'))
    assert.deepEqual(mountsBelow(driver.home), [])
    await driver.put(ID('b'))
    await given.inside(ID('b'), expectBase)
  })

  cases.it('gives the place that mergedPath and metadata name', async (given) => {
    await twoLayers(given)
    await given.inside(ID('b'), async (root) => {
      assert.equal(root, given.driver.mergedPath(ID('b')))
      const { merged = root } = await given.driver.metadata(ID('b'))
      assert.equal(merged, root)
    })
  })

  cases.it('mounts once for many at the same time', async (given) => {
    await twoLayers(given)
    const roots = await Promise.all(Array.from({ length: 8 }, () => given.driver.get(ID('b'))))
    assert.equal(new Set(roots).size, 1)
    await Promise.all(roots.map(() => given.driver.put(ID('b'))))
    assert.deepEqual(mountsBelow(given.driver.home), [])
  })

  cases.it('keeps what is written, and only in that layer', async (given) => {
    await twoLayers(given)
    await given.driver.createReadWrite(ID('c'), ID('a'))
    await given.inside(ID('b'), (root) => writeFileSync(join(root, 'written'), 'here'))
    await given.inside(ID('b'), (root) => assert.equal(readFileSync(join(root, 'written'), 'utf8'), 'here'))
    await given.inside(ID('a'), expectBase)
    await given.inside(ID('c'), expectBase)
  })
}

function otherProcessCases(cases: Cases): void {
  cases.needs('mounts', 'takes over what another process left mounted', async (given) => {
    const { driver } = given
    await twoLayers(given)
    const root = await driver.get(ID('b'))
    const other = await given.reopen()
    assert.equal(await other.get(ID('b')), root)
    await other.put(ID('b'))
    expectBase(root)
    await other.put(ID('b'))
    assert.deepEqual(mountsBelow(driver.home), [])
  })

  cases.needs('mounts', 'mounts again when another process has unmounted', async (given) => {
    const { driver } = given
    await twoLayers(given)
    await driver.get(ID('b'))
    await (await given.reopen()).put(ID('b'))
    assert.deepEqual(mountsBelow(driver.home), [])
    const root = await driver.get(ID('b'))
    expectBase(root)
    await driver.put(ID('b'))
    assert.deepEqual(mountsBelow(driver.home), [])
  })
}

function endCases(cases: Cases): void {
  cases.needs('mounts', 'does not pull the ground from under an open file, unless forced', async (given) => {
    const { driver } = given
    await twoLayers(given)
    const root = await driver.get(ID('b'))
    const fd = openSync(join(root, 'a file'), 'r')
    try {
      await assert.rejects(driver.put(ID('b')), { code: 'ERR_IN_USE' })
      expectBase(root)
      await driver.put(ID('b'), { force: true })
      assert.deepEqual(mountsBelow(driver.home), [])
      assert.equal(readFileSync(fd, 'utf8'), 'Some data')
    } finally {
      closeSync(fd)
    }
  })

  cases.needs('mounts', 'unmounts everything at cleanup, which can be called twice', async (given) => {
    const { driver } = given
    await twoLayers(given)
    await driver.get(ID('a'))
    await driver.get(ID('b'))
    await driver.get(ID('b'))
    await driver.cleanup()
    assert.deepEqual(mountsBelow(driver.home), [])
    await driver.cleanup()
    await driver.put(ID('b'))
    await given.inside(ID('b'), expectBase)
  })
}

function readOnlyCases(cases: Cases): void {
  cases.needs('readOnlyParents', 'mounts a layer with children read-only', async (given) => {
    await twoLayers(given)
    await given.inside(ID('a'), (root) => {
      assert.throws(() => writeFileSync(join(root, 'x'), ''), { code: 'EROFS' })
    })
  })

  cases.needs('mounts', 'mounts read-only when asked', async (given) => {
    await twoLayers(given)
    const root = await given.driver.get(ID('b'), { readOnly: true })
    try {
      assert.throws(() => writeFileSync(join(root, 'x'), ''), { code: 'EROFS' })
      assert.throws(() => writeFileSync(join(root, 'a file'), ''), { code: 'EROFS' })
      expectBase(root)
    } finally {
      await given.driver.put(ID('b'))
    }
  })
}

function openCases(cases: Cases): void {
  cases.needs(
    'mounts',
    'gives a tree that is in no mount table and ends with its descriptor',
    async (given) => {
      const { driver } = given
      await twoLayers(given)
      const mount = await driver.open(ID('b'))
      const root = `/proc/self/fd/${String(mount.fd.fd)}`
      expectBase(root)
      writeFileSync(join(root, 'through the descriptor'), 'x')
      assert.deepEqual(mountsBelow(driver.home), [])
      await mount[Symbol.asyncDispose]()
      await mount[Symbol.asyncDispose]()
      assert.deepEqual(await given.changes(ID('b'), ID('a')), ['A /through the descriptor'])
    },
  )

  cases.it('gives a view that nothing is written through', async (given) => {
    await twoLayers(given)
    await using view = await given.driver.open(ID('b'), { readOnly: true })
    const root = `/proc/self/fd/${String(view.fd.fd)}`
    expectBase(root)
    assert.throws(() => writeFileSync(join(root, 'x'), ''), { code: 'EROFS' })
  })
}

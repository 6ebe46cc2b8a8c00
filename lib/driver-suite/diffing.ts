/** What a layer says of its parent. */
import assert from 'node:assert/strict'
import { chmodSync, closeSync, lutimesSync, openSync, readFileSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { createBase, manyFiles } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'
import { collect } from './streams.ts'
import { dirAt, fileAt, hardlinkAt, symlinkAt, tree, type TreeNode } from './tree.ts'

export function diffingCases(cases: Cases): void {
  cases.describe('diff', () => {
    cases.it('is the same bytes each time', sameBytes)
    cases.it('is two blocks of nothing for a layer without changes', nothing)
    cases.it('of a base layer is all of it', wholeBase)
    cases.it('refuses a parent that is not the parent', wrongParent)
    cases.it('works while the layer is mounted, and ends early without leaving anything open', endsEarly)
    cases.it('stops when aborted', stops)
    cases.it('written to a descriptor is the same bytes', written)
    cases.it('counts a file once, however many names it has', countsOnce)
    cases.it('has changes of mode and owner alone', metadataAlone)
    cases.it('lists changes in the order of the bytes of their names', inOrder)
  })
}

/** The layer `b` on a base `a`, with these nodes. */
async function changed(given: Given, nodes: readonly TreeNode[]): Promise<void> {
  await createBase(given, ID('a'))
  await given.layer(ID('b'), ID('a'), nodes)
}

async function sameBytes(given: Given): Promise<void> {
  await changed(given, [...manyFiles(300, 5), symlinkAt('s', 'file-1'), hardlinkAt('h', 'file-2')])
  const [once, twice] = [await given.diff(ID('b'), ID('a')), await given.diff(ID('b'), ID('a'))]
  assert.equal(once.equals(twice), true)
  assert.ok(once.length > 300 * 512)
}

async function nothing(given: Given): Promise<void> {
  await createBase(given, ID('a'))
  await given.driver.createReadWrite(ID('b'), ID('a'))
  assert.equal((await given.diff(ID('b'), ID('a'))).equals(Buffer.alloc(1024)), true)
  assert.deepEqual(await given.changes(ID('b'), ID('a')), [])
  assert.equal(await given.driver.diffSize(ID('b'), ID('a')), 0)
}

async function wholeBase(given: Given): Promise<void> {
  await createBase(given, ID('a'))
  assert.deepEqual(await given.changes(ID('a'), undefined), ['A /a file', 'A /a subdir'])
  assert.equal(await given.driver.diffSize(ID('a'), undefined), 'Some data'.length)
  assert.equal(await given.copy(ID('a'), undefined, ID('b')), 'Some data'.length)
  assert.deepEqual(await given.dump(ID('b')), await given.dump(ID('a')))
}

async function wrongParent(given: Given): Promise<void> {
  await changed(given, [])
  await given.driver.create(ID('c'), undefined)
  const refusal = { code: 'ERR_INVALID_ARGUMENT' }
  for (const parent of [ID('c'), undefined]) {
    await assert.rejects(given.diff(ID('b'), parent), refusal)
    await assert.rejects(given.changes(ID('b'), parent), refusal)
    await assert.rejects(given.driver.diffSize(ID('b'), parent), refusal)
  }
}

async function endsEarly(given: Given): Promise<void> {
  await changed(given, [])
  await given.inside(ID('b'), async (root) => {
    await tree(root, [fileAt('big', Buffer.alloc(3_000_000, 7)), ...manyFiles(50, 2000)])
    for await (const chunk of given.driver.diff(ID('b'), ID('a'))) {
      assert.ok(chunk.length > 0)
      break
    }
  })
}

async function stops(given: Given): Promise<void> {
  await changed(given, manyFiles(200, 1000))
  const reason = new Error('enough')
  const signal = AbortSignal.abort(reason)
  await assert.rejects(collect(given.driver.diff(ID('b'), ID('a'), { signal })), reason)
}

async function written(given: Given): Promise<void> {
  await changed(given, [fileAt('big', Buffer.alloc(3_000_000, 7)), ...manyFiles(50, 2000)])
  const tar = await given.diff(ID('b'), ID('a'))
  const file = join(given.driver.home, '..', 'diff.tar')
  const fd = openSync(file, 'wx')
  try {
    assert.equal(await given.driver.diff(ID('b'), ID('a')).writeTo(fd), tar.length)
    assert.equal(readFileSync(file).equals(tar), true)
  } finally {
    closeSync(fd)
    rmSync(file)
  }
}

async function countsOnce(given: Given): Promise<void> {
  await changed(given, [fileAt('f', 'x'.repeat(1000)), hardlinkAt('g', 'f')])
  assert.equal(await given.driver.diffSize(ID('b'), ID('a')), given.supports.hardLinks ? 1000 : 2000)
  assert.ok((await given.driver.diskUsage(ID('b'))) >= 1000)
}

async function metadataAlone(given: Given): Promise<void> {
  await given.layer(ID('a'), undefined, [
    fileAt('mode', '1'),
    fileAt('owner', '22'),
    fileAt('time', '333'),
    dirAt('dir'),
    fileAt('same', '4444'),
  ])
  await given.driver.createReadWrite(ID('b'), ID('a'))
  await given.inside(ID('b'), (root) => {
    chmodSync(join(root, 'mode'), 0o600)
    chmodSync(join(root, 'dir'), 0o700)
    utimesSync(join(root, 'time'), 5, 5)
    return tree(root, [{ op: 'meta', path: 'owner', uid: 7, gid: 8 }])
  })
  assert.deepEqual(await given.changes(ID('b'), ID('a')), ['C /dir', 'C /mode', 'C /owner', 'C /time'])
  await given.copy(ID('b'), ID('a'), ID('c'))
  assert.deepEqual(await given.dump(ID('c')), await given.dump(ID('b')))
}

async function inOrder(given: Given): Promise<void> {
  const names = ['a', 'a!', 'a/b', 'a-', 'é', 'B', 'z']
  await changed(given, [dirAt('a'), ...names.filter((name) => name !== 'a').map((name) => fileAt(name))])
  await given.inside(ID('b'), (root) => lutimesSync(join(root, 'z'), 9, 9))
  const listed = (await given.changes(ID('b'), ID('a'))).map((line) => Buffer.from(line.slice(2)))
  assert.equal(listed.length, names.length)
  assert.deepEqual(
    listed,
    [...listed].sort((a, b) => Buffer.compare(a, b)),
  )
}

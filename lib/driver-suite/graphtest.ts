/** moby's graphtest: daemon/graphdriver/graphtest/graphtest_unix.go. Its quota case is in limits.ts. */
import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createBase, expectBase, manyFiles } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'
import { fileAt, tree } from './tree.ts'

export function graphtestCases(cases: Cases): void {
  cases.describe('graphtest', () => {
    cases.it('creates an empty layer: there, 0755, root, nothing in it', async (given) => {
      await given.driver.create(ID('a'), undefined)
      assert.equal(await given.driver.exists(ID('a')), true)
      await given.inside(ID('a'), (root) => {
        const stat = statSync(root)
        assert.deepEqual([stat.isDirectory(), stat.mode & 0o7777, stat.uid, stat.gid], [true, 0o755, 0, 0])
        assert.deepEqual(readdirSync(root), [])
      })
    })

    cases.it('keeps what was written in a base', async (given) => {
      await createBase(given, ID('a'))
      await given.inside(ID('a'), expectBase)
    })

    cases.it('shows the base in a layer above it, unchanged', async (given) => {
      await createBase(given, ID('a'))
      await given.driver.create(ID('b'), ID('a'))
      await given.inside(ID('b'), expectBase)
    })

    cases.it(`reads through a chain of ${String(cases.supports.maxDepth)} layers`, deepRead)
    cases.it('applies its own diff: same size, same content, the removed file gone', diffAndApply)
    cases.it('lists what was added, changed and deleted', listChanges)
  })
}

async function deepRead(given: Given): Promise<void> {
  const depth = given.supports.maxDepth
  let parent: string | undefined
  for (let at = 0; at < depth; at++) {
    const id = `layer-${String(at)}`
    await given.driver.create(id, parent)
    await given.inside(id, (root) => {
      writeFileSync(join(root, `file-${String(at)}`), String(at))
      writeFileSync(join(root, 'changed'), String(at))
    })
    parent = id
  }
  await given.inside(parent ?? '', (root) => {
    assert.equal(readdirSync(root).length, depth + 1)
    assert.equal(readFileSync(join(root, 'changed'), 'utf8'), String(depth - 1))
    for (let at = 0; at < depth; at++)
      assert.equal(readFileSync(join(root, `file-${String(at)}`), 'utf8'), String(at))
  })
}

async function diffAndApply(given: Given): Promise<void> {
  const { driver } = given
  await given.layer(ID('a'), undefined, manyFiles(10, 3))
  await driver.create(ID('b'), ID('a'))
  await given.inside(ID('b'), async (root) => {
    rmSync(join(root, 'file-3'))
    writeFileSync(join(root, 'file-4'), 'other content')
    await tree(root, [fileAt('extra', 'new', { mtime: 77 })])
  })
  await driver.create(ID('c'), ID('a'))
  const size = await driver.applyDiff(ID('c'), ID('a'), driver.diff(ID('b'), ID('a')))
  assert.equal(size, await driver.diffSize(ID('b'), ID('a')))
  assert.equal(size, 'other content'.length + 'new'.length)
  await given.inside(ID('c'), (root) => assert.equal(existsSync(join(root, 'file-3')), false))
  assert.deepEqual(await given.dump(ID('c')), await given.dump(ID('b')))
}

async function listChanges(given: Given): Promise<void> {
  await given.layer(ID('a'), undefined, [...manyFiles(20, 3), fileAt('dir/old', 'x'), fileAt('gone/x', '')])
  await given.driver.createReadWrite(ID('b'), ID('a'))
  await given.inside(ID('b'), (root) => {
    writeFileSync(join(root, 'file-7'), 'changed')
    rmSync(join(root, 'file-8'))
    rmSync(join(root, 'gone'), { recursive: true })
    writeFileSync(join(root, 'dir/new'), 'new')
    mkdirSync(join(root, 'added'))
    symlinkSync('x', join(root, 'added/link'))
  })
  assert.deepEqual(await given.changes(ID('b'), ID('a')), [
    'A /added',
    'A /added/link',
    'C /dir',
    'A /dir/new',
    'C /file-7',
    'D /file-8',
    'D /gone',
  ])
}

/** containerd's snapshotter suite, core/snapshots/testsuite, as far as a driver goes: what is changed, and committed. */
import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  cpSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { namesBelow } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'
import { dirAt, fileAt, symlinkAt, tree } from './tree.ts'

export function snapshotCases(cases: Cases): void {
  cases.describe('committed layers', () => {
    changeCases(cases)
    deletionCases(cases)
    renameCases(cases)
    replacementCases(cases)
    cases.it('are what the next are made on', threeCommits)
    cases.it('have a root of 0755, on whatever they are', rootMode)
    cases.it('can be asked about while one of them is being read', askedMeanwhile)
  })
}

function changeCases(cases: Cases): void {
  cases.it('have files changed as in the container', async (given) => {
    await given.commit([fileAt('etc/hosts', 'one\n'), fileAt('etc/same', '')], (root) => {
      appendFileSync(join(root, 'etc/hosts'), 'two\n')
    })
    await given.inside(ID('c'), (root) => {
      assert.equal(readFileSync(join(root, 'etc/hosts'), 'utf8'), 'one\ntwo\n')
      assert.deepEqual(readdirSync(join(root, 'etc')).sort(), ['hosts', 'same'])
    })
  })

  cases.it('have owners changed: of a file, a folder and a link', async (given) => {
    await given.commit([fileAt('opt/file', 'x'), symlinkAt('opt/link', 'file'), dirAt('opt/dir')], (root) => {
      for (const name of ['file', 'link', 'dir']) lchownSync(join(root, 'opt', name), 1, 2)
    })
    await given.inside(ID('c'), (root) => {
      for (const name of ['file', 'link', 'dir']) {
        const { uid, gid } = lstatSync(join(root, 'opt', name))
        assert.deepEqual([uid, gid], [1, 2], name)
      }
    })
  })

  cases.it('have the permissions of folders, also of those above a change', async (given) => {
    const base = [dirAt('a', { mode: 0o700, uid: 1, gid: 1 }), dirAt('a/b', { mode: 0o1777 }), dirAt('e')]
    await given.commit(base, (root) => {
      writeFileSync(join(root, 'a/b/new'), '')
      mkdirSync(join(root, 'a/c'))
      chmodSync(join(root, 'a/c'), 0o2750)
      chmodSync(join(root, 'e'), 0o711)
    })
    await given.inside(ID('c'), (root) => {
      const modes = ['a', 'a/b', 'a/c', 'e'].map((name) => lstatSync(join(root, name)).mode & 0o7777)
      assert.deepEqual(modes, [0o700, 0o1777, 0o2750, 0o711])
      assert.equal(lstatSync(join(root, 'a')).uid, 1)
    })
  })
}

function deletionCases(cases: Cases): void {
  cases.it('lack what was deleted', async (given) => {
    await given.commit([fileAt('l1/a', ''), fileAt('l1/b', ''), fileAt('l2/c/d', '')], (root) => {
      rmSync(join(root, 'l1/a'))
      rmSync(join(root, 'l2'), { recursive: true })
    })
    await given.inside(ID('c'), (root) => {
      assert.deepEqual(readdirSync(root), ['l1'])
      assert.deepEqual(readdirSync(join(root, 'l1')), ['b'])
    })
    assert.deepEqual(await given.changes(ID('c'), ID('a')), ['C /l1', 'D /l1/a', 'D /l2'])
  })

  cases.it('have a folder that was deleted and made again with its new content alone', async (given) => {
    await given.commit(
      [fileAt('lib/old', '1'), fileAt('lib/sub/old', '2'), fileAt('lib/kept', '3')],
      (root) => {
        rmSync(join(root, 'lib'), { recursive: true })
        return tree(root, [fileAt('lib/new', '4'), fileAt('lib/kept', '3')])
      },
    )
    await given.inside(ID('c'), (root) => {
      assert.deepEqual(readdirSync(join(root, 'lib')).sort(), ['kept', 'new'])
    })
    await given.layer(ID('d'), ID('c'), [fileAt('lib/sub/new', '5')])
    await given.inside(ID('d'), (root) => assert.deepEqual(readdirSync(join(root, 'lib/sub')), ['new']))
  })

  cases.it('have a name deleted, given again and deleted by turns', async (given) => {
    await given.commit([fileAt('x', '1'), fileAt('dir/x', '1')], (root) => {
      rmSync(join(root, 'x'))
      rmSync(join(root, 'dir'), { recursive: true })
    })
    await given.layer(ID('d'), ID('c'), [fileAt('x', '2'), fileAt('dir/y', '2')])
    await given.copy(ID('d'), ID('c'), ID('e'))
    await given.driver.createReadWrite(ID('f'), ID('e'))
    await given.inside(ID('f'), (root) => rmSync(join(root, 'x')))
    await given.copy(ID('f'), ID('e'), ID('0'))
    const seen = async (id: string): Promise<string[]> => given.inside(id, (root) => namesBelow(root))
    assert.deepEqual(await seen(ID('c')), [])
    assert.deepEqual(await seen(ID('e')), ['dir', 'dir/y', 'x'])
    assert.deepEqual(await seen(ID('0')), ['dir', 'dir/y'])
  })
}

function renameCases(cases: Cases): void {
  cases.it('have a file where it was moved to', async (given) => {
    await given.commit([fileAt('from/file', 'content', { mode: 0o640 }), dirAt('to')], (root) => {
      move(join(root, 'from/file'), join(root, 'to/other'))
    })
    assert.deepEqual(await given.changes(ID('c'), ID('a')), [
      'C /from',
      'D /from/file',
      'C /to',
      'A /to/other',
    ])
    await given.inside(ID('c'), (root) => {
      assert.equal(readFileSync(join(root, 'to/other'), 'utf8'), 'content')
    })
  })

  cases.it('have a folder of the layer below where it was moved to, and all that is in it', async (given) => {
    await given.commit([fileAt('old/a', '1'), fileAt('old/b/c', '2')], (root) => {
      move(join(root, 'old'), join(root, 'new'))
      writeFileSync(join(root, 'new/d'), '3')
    })
    await given.inside(ID('c'), (root) => {
      assert.deepEqual(namesBelow(root), ['new', 'new/a', 'new/b', 'new/b/c', 'new/d'])
    })
  })
}

function replacementCases(cases: Cases): void {
  cases.it('have a new folder in the place of one that was moved away', async (given) => {
    await given.commit([fileAt('dir/lower', '1'), dirAt('other')], (root) => {
      mkdirSync(join(root, 'made'))
      writeFileSync(join(root, 'made/upper'), '')
      move(join(root, 'dir'), join(root, 'other/dir'))
      move(join(root, 'made'), join(root, 'dir'))
    })
    await given.inside(ID('c'), (root) => {
      assert.deepEqual(namesBelow(root), ['dir', 'dir/upper', 'other', 'other/dir', 'other/dir/lower'])
    })
  })

  cases.it('have what was renamed over something in its place', async (given) => {
    await given.commit([fileAt('config', 'old'), symlinkAt('link', 'config')], (root) => {
      for (const name of ['config', 'link']) {
        writeFileSync(join(root, `${name}.new`), 'new')
        move(join(root, `${name}.new`), join(root, name))
      }
    })
    await given.inside(ID('c'), (root) => {
      assert.deepEqual(readdirSync(root).sort(), ['config', 'link'])
      for (const name of ['config', 'link']) {
        assert.equal(lstatSync(join(root, name)).isFile(), true, name)
        assert.equal(readFileSync(join(root, name), 'utf8'), 'new')
      }
    })
  })
}

/** As mv(1): a folder of a layer below may be refused with EXDEV, and is copied then. */
function move(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error
    cpSync(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
    rmSync(from, { recursive: true })
  }
}

/** Basic: prepare, write, commit, and so on, each on the one before. */
async function threeCommits(given: Given): Promise<void> {
  const steps: ((root: string) => void)[] = [
    (root) => {
      for (const name of ['one', 'two', 'three']) writeFileSync(join(root, name), name)
    },
    (root) => {
      writeFileSync(join(root, 'two'), 'changed')
      rmSync(join(root, 'three'))
    },
    (root) => {
      writeFileSync(join(root, 'three'), 'again')
      chmodSync(join(root, 'one'), 0o600)
    },
  ]
  let parent: string | undefined
  for (const [index, step] of steps.entries()) {
    await given.driver.createReadWrite('container', parent)
    await given.inside('container', step)
    await given.copy('container', parent, ID(String(index)))
    await given.driver.remove('container')
    parent = ID(String(index))
  }
  const read = (id: string): Promise<string[][]> =>
    given.inside(id, (root) =>
      readdirSync(root)
        .sort()
        .map((name) => [name, readFileSync(join(root, name), 'utf8')]),
    )
  assert.deepEqual(await read(ID('0')), [
    ['one', 'one'],
    ['three', 'three'],
    ['two', 'two'],
  ])
  assert.deepEqual(await read(ID('1')), [
    ['one', 'one'],
    ['two', 'changed'],
  ])
  assert.deepEqual(await read(ID('2')), [
    ['one', 'one'],
    ['three', 'again'],
    ['two', 'changed'],
  ])
}

/** RootPermission; the umask plays no part. */
async function rootMode(given: Given): Promise<void> {
  const umask = process.umask(0o077)
  try {
    await given.layer(ID('a'), undefined, [fileAt('x')])
    await given.driver.createReadWrite(ID('b'), ID('a'))
    await given.copy(ID('a'), undefined, ID('c'))
  } finally {
    process.umask(umask)
  }
  for (const id of [ID('a'), ID('b'), ID('c')]) {
    await given.inside(id, (root) => {
      const { mode, uid, gid } = lstatSync(root)
      assert.deepEqual([mode & 0o7777, uid, gid], [0o755, 0, 0])
    })
  }
}

/** StatInWalk: no lock is held while the reader has the word. */
async function askedMeanwhile(given: Given): Promise<void> {
  const { driver } = given
  await given.commit([fileAt('x')], (root) => writeFileSync(join(root, 'y'), 'new'))
  for await (const { kind } of driver.changes(ID('b'), ID('a'))) {
    assert.equal(kind, 'A')
    assert.equal(await driver.exists(ID('b')), true)
    assert.equal(await driver.parent(ID('b')), ID('a'))
    assert.equal(await driver.diffSize(ID('b'), ID('a')), 3)
    await given.inside(ID('b'), (root) => assert.deepEqual(readdirSync(root).sort(), ['x', 'y']))
    await driver.createReadWrite(ID('d'), ID('b'))
  }
  assert.equal(await driver.exists(ID('d')), true)
}

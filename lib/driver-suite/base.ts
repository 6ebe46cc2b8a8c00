/** The little trees that cases work with, moby's graphtest's first. */
import assert from 'node:assert/strict'
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Given } from './cases.ts'
import { dirAt, fileAt, type TreeNode } from './tree.ts'

/** graphtest's createBase: a sticky folder of 1:2 and a setuid file. */
export function createBase(given: Given, id: string): Promise<void> {
  return given.layer(id, undefined, [
    dirAt('a subdir', { mode: 0o1705, uid: 1, gid: 2 }),
    fileAt('a file', 'Some data', { mode: 0o4222 }),
  ])
}

/** graphtest's verifyBase: exactly the two entries, as they were made. */
export function expectBase(root: string): void {
  assert.deepEqual(readdirSync(root).sort(), ['a file', 'a subdir'])
  const dir = lstatSync(join(root, 'a subdir'))
  assert.deepEqual([dir.isDirectory(), dir.mode & 0o7777, dir.uid, dir.gid], [true, 0o1705, 1, 2])
  const file = lstatSync(join(root, 'a file'))
  assert.deepEqual([file.isFile(), file.mode & 0o7777, file.uid, file.gid], [true, 0o4222, 0, 0])
  assert.equal(readFileSync(join(root, 'a file'), 'utf8'), 'Some data')
}

/** `count` files of `size` bytes, each its own. */
export function manyFiles(count: number, size: number): TreeNode[] {
  return Array.from({ length: count }, (_, index) =>
    fileAt(`file-${String(index)}`, `${String(index)} `.repeat(size).slice(0, size)),
  )
}

/** All paths below `root`, sorted; links are not followed, as readdir's own recursion does in some versions of Node. */
export function namesBelow(root: string): string[] {
  const names = readdirSync(root, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? [entry.name, ...namesBelow(join(root, entry.name)).map((name) => join(entry.name, name))]
      : [entry.name],
  )
  return names.sort()
}

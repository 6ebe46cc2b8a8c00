/** Fills a tree that is a copy of its parent's. */
import { join } from 'node:path'
import { openFolder } from '../../fs/folder.ts'
import type { ApplyOptions } from '../driver.ts'
import { makeUpper, settleIn, type Unpacking, unpackInto } from '../home/staged.ts'
import { makeStagingFolder, removeStagingFolder } from '../home/staging-folder.ts'
import { mergeUpper } from './merge.ts'

/**
 * Unpacks `tar` beside the tree at `path`, then puts it onto it. Returns the layer's size. On failure the tree is as it
 * was, unless it is the putting that failed.
 */
export async function applyOnto(
  unpacking: Unpacking,
  path: string,
  tar: AsyncIterable<Buffer>,
  options: ApplyOptions,
): Promise<number> {
  const { home, marks } = unpacking
  const staging = await makeStagingFolder(home.path)
  try {
    const diff = join(staging.path, 'diff')
    await makeUpper(diff)
    const notes = await unpackInto(diff, tar, { ...options, marks })
    using tree = openFolder(path)
    const settled = await settleIn(diff, tree.fd, notes, unpacking)
    await mergeUpper({ home: home.path, upper: diff, tree: path, settled })
    return notes.size + settled.added
  } finally {
    await removeStagingFolder(home.path, staging)
  }
}

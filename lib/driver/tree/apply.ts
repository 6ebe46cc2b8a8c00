/** Fills a tree that is a copy of its parent's. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { ApplyOptions } from '../driver.ts'
import { makeStagingFolder, removeStagingFolder } from '../home/staging-folder.ts'
import { settleIn, type Unpacking, unpackInto } from '../home/staged.ts'
import { mergeUpper } from './merge.ts'
import { openFolder } from '../../fs/folder.ts'

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
    await mkdir(diff, { mode: 0o755 })
    const notes = await unpackInto(diff, tar, { ...options, marks })
    using tree = openFolder(path)
    const settled = await settleIn(diff, tree.fd, notes, unpacking)
    using root = openFolder(home.path)
    const below = (name: string): string => name.slice(home.path.length + 1)
    await mergeUpper({ rootFd: root.fd, upper: below(diff), tree: below(path), settled })
    return notes.size + settled.added
  } finally {
    await removeStagingFolder(home.path, staging)
  }
}

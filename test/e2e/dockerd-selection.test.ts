/** The driver that a real dockerd takes for a root, beside the one that we would take in its release's order. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { GIB } from '../helpers/sizes.ts'
import { overlaid } from './support/command.ts'

let disk: LoopFileSystem
let root: string
beforeEach(() => {
  disk = loopFileSystem('ext4', GIB)
  root = join(disk.dir, 'root')
})
afterEach(() => disk[Symbol.dispose]())
watchLeaks(() => [disk.dir])

/** `none` when it does not start. */
async function theirs(): Promise<string> {
  try {
    await using dockerd = await startDockerd(root, join(disk.dir, 'scratch'), '--storage-driver=')
    return dockerd.docker('info', '--format', '{{.Driver}}').trim()
  } catch (error) {
    const { message } = error as Error
    if (!message.startsWith('dockerd did not start')) throw error
    expect(message).toMatch(/graphdriver|storage driver|valid graphdrivers/)
    return 'none'
  }
}

async function ours(): Promise<string> {
  const { stdout } = await overlaid(root, ['--driver-order', '20.10', 'probe'])
  return /^Chosen: (\S+)/m.exec(stdout)?.[1] ?? ''
}

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasDockerd', 'hasDocker'))('dockerd', () => {
  it.each([
    ['nothing', [], 'overlay2'],
    ["overlay2's state", ['overlay2'], 'overlay2'],
    ["vfs' folder", ['vfs'], 'overlay2'],
    ["overlay2's and vfs'", ['overlay2', 'vfs'], 'overlay2'],
    ["btrfs' state, which cannot work here", ['btrfs'], 'none'],
    ['the state of two', ['overlay2', 'btrfs'], 'none'],
    ["aufs' state", ['aufs'], 'none'],
  ] as const)('on a root with %s takes what we take', async (_what, names, driver) => {
    for (const name of names) {
      mkdirSync(join(root, name), { recursive: true })
      writeFileSync(join(root, name, 'x'), '')
    }
    expect([await ours(), await theirs()]).toEqual([driver, driver])
  })
})

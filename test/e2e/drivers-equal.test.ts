/** Real images come out of every driver, on every file system, as the same bytes. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { demoImages } from '../../scripts/demo-images.mjs'
import { DEBIAN_NAME, debianImage } from '../fixtures/images/debian.mjs'
import { serversEnded } from '../helpers/fuse.ts'
import { type Gate, missing } from '../helpers/gates.ts'
import { type FileSystemKind, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { GIB } from '../helpers/sizes.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { overlaid } from './support/command.ts'

interface Place {
  readonly driver: string
  readonly on: FileSystemKind
  readonly gates: readonly Gate[]
}

/** The first is what the others are compared with. */
const PLACES: readonly [Place, ...Place[]] = [
  { driver: 'overlay2', on: 'ext4', gates: [] },
  { driver: 'overlay2', on: 'xfs', gates: ['hasXfs'] },
  { driver: 'vfs', on: 'ext4', gates: [] },
  { driver: 'vfs', on: 'tmpfs', gates: [] },
  { driver: 'fuse-overlayfs', on: 'ext4', gates: ['canFuse'] },
  { driver: 'btrfs', on: 'btrfs', gates: ['hasBtrfs'] },
]

/**
 * What `create` makes or changes, and so has the time of: the init layer's entries and the folders that they are in.
 * Folders last: fuse-overlayfs changes the time of one when it copies up what is in it.
 */
const MADE = ['console', 'pts', 'shm']
  .map((name) => `dev/${name}`)
  .concat(
    ['hostname', 'hosts', 'mtab', 'resolv.conf'].map((name) => `etc/${name}`),
    ['.dockerenv', 'dev', 'etc', 'proc', 'sys'],
  )

interface Archive {
  readonly what: string
  readonly sha256: string
  /** What `tar -tv` says: where two differ, better to look at than digests. */
  readonly members: readonly string[]
}

interface RealImage {
  readonly name: string
  readonly file: string
}

let images: readonly RealImage[]
const made: string[] = []

async function archiveAt(file: string, what: string): Promise<Archive> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  const list = ['--full-time', '--numeric-owner', '--quoting-style=escape', '-tvf', file]
  const members = execFileSync('tar', list, { encoding: 'utf8', maxBuffer: 1 << 26 }).split('\n')
  return { what, sha256: hash.digest('hex'), members }
}

/** All that can be taken out of a fresh root at `place`: of each image its own archives, and those of a container. */
async function archivesOf({ driver, on }: Place): Promise<Archive[]> {
  using disk = loopFileSystem(on, 4 * GIB)
  using scratch = tempDir('equal')
  made.push(disk.dir)
  const run = async (...argv: string[]): Promise<string> => {
    const result = await overlaid(join(disk.dir, 'root'), ['--quiet', '--driver', driver, ...argv])
    expect({ argv, ...result }).toMatchObject({ argv, status: 0, stderr: '' })
    return result.stdout.trim()
  }
  const taken: Archive[] = []
  const take = async (what: string, ...argv: string[]): Promise<void> => {
    const file = join(scratch.path, 'taken.tar')
    await run(...argv, '-o', file)
    taken.push(await archiveAt(file, what))
  }
  for (const { name, file } of images) {
    await run('load', '-i', file)
    await take(`save of ${name}`, 'save', name)
    await take(`export of ${name}`, 'export', name)
    const container = await run('create', name)
    const root = await run('mount', container)
    execFileSync('touch', ['--no-dereference', '--date', '@1', ...MADE], { cwd: root })
    await take(`export of a mounted container of ${name}`, 'export', container)
    await run('unmount', container)
    await take(`export of a container of ${name}`, 'export', container)
  }
  await serversEnded(disk.dir)
  return taken
}

const gates = ['hasBinding', 'canMount', 'canLoop', 'hasAptGet', 'hasMmdebstrap', 'hasGnuTar'] as const

describe.skipIf(missing(...gates))('save and export', () => {
  const [first, ...others] = PLACES
  let expected: readonly Archive[]
  watchLeaks(() => made)
  beforeAll(async () => {
    images = [{ name: DEBIAN_NAME, file: await debianImage() }, ...(await demoImages()).slice(0, 1)]
    expected = await archivesOf(first)
  }, 600_000)

  it('of a mounted container and of one that is not are alike, and hold the image', () => {
    for (const [at, { name }] of images.entries()) {
      const [, image, mounted, unmounted] = expected.slice(at * 4)
      expect(mounted).toEqual({ ...unmounted, what: `export of a mounted container of ${name}` })
      const lines = new Set(unmounted?.members)
      const others = image?.members.filter((line) => !lines.has(line)) ?? []
      expect(image?.members.length).toBeGreaterThan(200)
      expect(others.length).toBeLessThanOrEqual(MADE.length)
    }
  })

  for (const place of others) {
    it.skipIf(missing(...place.gates))(
      `by ${place.driver} on ${place.on} are those of ${first.driver} on ${first.on}, byte for byte`,
      async () => {
        expect(await archivesOf(place)).toEqual(expected)
      },
    )
  }
})

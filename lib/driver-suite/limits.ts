/** Layers that are more than layers: of a limited size, or with other ids. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import {
  chownSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lstatSync,
  openSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { constants as os } from 'node:os'
import { join } from 'node:path'
import type { IDMap } from '../driver/id-map.ts'
import { binding } from '../native/binding.ts'
import { OwnedFd } from '../native/fd.ts'
import { createBase } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'
import { fileAt } from './tree.ts'

const MIB = 1024 * 1024
const SIZE = 16 * MIB

const RANGES = [{ container: 0, host: 100_000, size: 65_536 }]
const MAP: IDMap = { uid: RANGES, gid: RANGES }

export function limitCases(cases: Cases): void {
  cases.describe('a writable layer', () => {
    cases.it('has no limit that was not asked for, and a missing one none to be told of', unlimited)
    if (cases.supports.quota) cases.it('made with a size grows to that and no further', limited)
    else cases.it('is refused with a size (no support of quota), and none is left', sizeRefused)
    if (cases.supports.idMaps) cases.it('made with an id map has its ids, and its diff has not', mapped)
    else cases.it('is refused with an id map (no support of idMaps), and none is left', mapRefused)
  })
}

async function unlimited(given: Given): Promise<void> {
  await createBase(given, ID('a'))
  await given.driver.createReadWrite(ID('b'), ID('a'))
  assert.equal(await given.driver.quota(ID('b')), undefined)
  await assert.rejects(given.driver.quota(ID('c')), { code: 'ERR_LAYER_NOT_FOUND' })
}

/** A refusal that says what could be done, and no layer without the limit. */
async function sizeRefused(given: Given): Promise<void> {
  await createBase(given, ID('a'))
  const refusal = { code: 'ERR_UNSUPPORTED_FS', hint: /./ }
  await assert.rejects(given.driver.createReadWrite(ID('b'), ID('a'), { size: SIZE }), refusal)
  assert.equal(await given.driver.exists(ID('b')), false)
}

/** graphtest's DriverTestSetQuota, and what quota() says meanwhile. */
async function limited(given: Given): Promise<void> {
  const { driver } = given
  await createBase(given, ID('a'))
  await driver.createReadWrite(ID('b'), ID('a'), { size: SIZE })
  assert.equal((await driver.quota(ID('b')))?.limit, SIZE)
  await synced(given, (root) => writeFileSync(join(root, 'some'), randomBytes(4 * MIB)))
  const { used = 0 } = (await driver.quota(ID('b'))) ?? {}
  assert.ok(used >= 4 * MIB && used < 5 * MIB, `${String(used)} bytes are used, of a file of 4 MiB`)
  const written = await synced(given, (root) => fill(join(root, 'rest'), 2 * SIZE))
  assert.ok(written > SIZE / 2 && written < SIZE, `${String(written)} bytes more got through`)
  const again = await (await given.reopen()).quota(ID('b'))
  assert.equal(again?.limit, SIZE)
  assert.ok(
    again.used > SIZE / 2 && again.used <= SIZE + MIB,
    `${String(again.used)} bytes are used in the end`,
  )
  assert.equal(await driver.quota(ID('a')), undefined)
}

/** Works in the layer `b`, and waits for the file system: btrfs and zfs count when a transaction ends. */
function synced<T>(given: Given, work: (root: string) => T): Promise<T> {
  return given.inside(ID('b'), async (root) => {
    const result = work(root)
    using fd = new OwnedFd(openSync(root, 'r'))
    await binding.syncfs(fd.fd)
    return result
  })
}

/** Writes what no file system compresses, until it is refused. Returns how many bytes got through. */
function fill(path: string, atMost: number): number {
  const chunk = randomBytes(MIB / 4)
  const fd = openSync(path, 'w')
  let written = 0
  try {
    while (written < atMost) {
      written += writeSync(fd, chunk)
      fsyncSync(fd)
    }
  } catch (error) {
    const errno = -((error as NodeJS.ErrnoException).errno ?? 0)
    assert.ok([os.errno.EDQUOT, os.errno.ENOSPC].includes(errno), String(error))
    return written
  } finally {
    closeSync(fd)
  }
  throw new Error(`${String(written)} bytes were written, and nothing stopped that`)
}

async function mapRefused(given: Given): Promise<void> {
  await createBase(given, ID('a'))
  const refusal = { code: 'ERR_UNSUPPORTED_FS', hint: /./ }
  await assert.rejects(given.driver.createReadWrite(ID('b'), ID('a'), { idMap: MAP }), refusal)
  assert.equal(await given.driver.exists(ID('b')), false)
}

async function mapped(given: Given): Promise<void> {
  const { driver } = given
  await given.layer(ID('a'), undefined, [
    fileAt('bin/sh', '#!'),
    fileAt('home/file', 'x', { uid: 1000, gid: 1001 }),
  ])
  await driver.createReadWrite(ID('b'), ID('a'), { idMap: MAP })
  assert.deepEqual(await given.changes(ID('b'), ID('a')), [])
  await given.inside(ID('b'), async (root) => {
    assert.equal(ownerOf(root, '.'), '100000:100000')
    assert.equal(ownerOf(root, 'bin/sh'), '100000:100000')
    assert.equal(ownerOf(root, 'home/file'), '101000:101001')
    await createAsInside(root, 'new')
    chownSync(join(root, 'new'), 100_005, 100_006)
  })
  await given.copy(ID('b'), ID('a'), ID('c'))
  await given.inside(ID('c'), (root) => {
    assert.equal(ownerOf(root, 'new'), '5:6')
    assert.equal(ownerOf(root, 'home/file'), '1000:1001')
  })
  await using view = await driver.open(ID('b'), { readOnly: true, unmapped: true })
  const root = `/proc/self/fd/${String(view.fd.fd)}`
  assert.equal(ownerOf(root, 'home/file'), '1000:1001')
  assert.equal(existsSync(join(root, 'new')), true)
}

/** As the container's root: of an id that the map has not, the mount of a whole tree takes no new file. */
async function createAsInside(root: string, name: string): Promise<void> {
  using dir = new OwnedFd(openSync(root, constants.O_RDONLY))
  // All of the process's threads, the pool's too. The group first, while it may be changed.
  process.setegid?.(100_000)
  process.seteuid?.(100_000)
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
    closeSync(await binding.openat(dir.fd, name, flags, 0o644))
  } finally {
    process.seteuid?.(0)
    process.setegid?.(0)
  }
}

function ownerOf(root: string, name: string): string {
  const { uid, gid } = lstatSync(`${root}/${name}`)
  return `${String(uid)}:${String(gid)}`
}

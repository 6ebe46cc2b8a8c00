/** The file system below a data root: its name, and whether its directories keep the types of their entries. */
import { constants, openSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { hasCode } from '../errors.ts'
import { findMount } from '../fs/mountinfo.ts'
import { binding } from '../native/binding.ts'
import { OwnedFd } from '../native/fd.ts'
import { DT } from '../native/flags.ts'

/** Magic numbers of statfs(2) by moby's names for them (graphdriver's FsNames). */
const NAMES: ReadonlyMap<number, string> = new Map([
  [0x61756673, 'aufs'],
  [0x9123683e, 'btrfs'],
  [0x28cd3d45, 'cramfs'],
  [0xf15f, 'ecryptfs'],
  [0xef53, 'extfs'],
  [0xf2f52010, 'f2fs'],
  [0x65735546, 'fuse'],
  [0x47504653, 'gpfs'],
  [0x72b6, 'jffs2'],
  [0x3153464a, 'jfs'],
  [0x6969, 'nfs'],
  [0x794c7630, 'overlayfs'],
  [0x858458f6, 'ramfs'],
  [0x52654973, 'reiserfs'],
  [0x517b, 'smb'],
  [0x73717368, 'squashfs'],
  [0x01021994, 'tmpfs'],
  [0x01021997, '9p'],
  [0x4d44, 'vfat'],
  [0xa501fcf5, 'vxfs'],
  [0x58465342, 'xfs'],
  [0x2fc12fc1, 'zfs'],
])

export interface Backing {
  /** moby's name, `<unknown>` for a magic number that it has none for. */
  readonly name: string
  /** The magic number, e.g. `0xef53`. */
  readonly magic: string
  /** Whether entries that are there have a type; undefined where there is none to look at, or no right to look. */
  readonly dType: boolean | undefined
}

/** Describes the file system of `dir`, or of the nearest folder above it that exists. Writes nothing. */
export async function describeBacking(dir: string): Promise<Backing> {
  const existing = nearestExisting(dir)
  const { type } = await binding.statfs(existing)
  return {
    name: NAMES.get(type) ?? '<unknown>',
    magic: `0x${type.toString(16)}`,
    dType: await seenDType(existing),
  }
}

/** Where a data root is to be and what that is on, for a refusal: `/srv is extfs`. @param existing {@link nearestExisting} */
export async function foundBacking(existing: string): Promise<string> {
  const { name, magic } = await describeBacking(existing)
  const found = name === '<unknown>' ? `of the unknown kind ${magic}` : name
  const where = statSync(existing).isDirectory() ? existing : `the place of ${existing}`
  return `${where} is ${found}`
}

/** `dir` itself when it exists, else the nearest folder above it that does. */
export function nearestExisting(dir: string): string {
  for (let path = resolve(dir); ; path = dirname(path)) {
    if (path === '/' || exists(path)) return path
  }
}

function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined
  } catch (error) {
    // Below what is no folder: for Node that is another error than ENOENT.
    if (hasCode(error, 'ENOTDIR')) return false
    throw error
  }
}

/** What the entries of `dir` tell, or of a folder above it in the same file system when it has none. */
async function seenDType(dir: string): Promise<boolean | undefined> {
  const { dev } = statSync(dir)
  for (let path = dir; statSync(path).dev === dev; path = dirname(path)) {
    const seen = await hasEntryTypes(path)
    if (seen !== undefined || path === '/') return seen
  }
  return undefined
}

/**
 * Whether all entries of the directory have a type; undefined where it is empty, unreadable or not there. The
 * kernel does not refuse an upper without types: it only says a line in its log, and then shows deleted names in
 * readdir for ever.
 */
export async function hasEntryTypes(dir: string): Promise<boolean | undefined> {
  const fd = openDirectory(dir)
  if (fd === undefined) return undefined
  try {
    const entries = await binding.getdents64(fd.fd)
    return entries.length === 0 ? undefined : entries.every(({ type }) => type !== DT.DT_UNKNOWN)
  } finally {
    fd.close()
  }
}

function openDirectory(dir: string): OwnedFd | undefined {
  try {
    return new OwnedFd(openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY))
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return undefined
    throw error
  }
}

/** The device and mount point of the file system below `dir`, for a hint; undefined when the table has none. */
export async function deviceOf(dir: string): Promise<{ device: string; mountPoint: string } | undefined> {
  const mount = await findMount(nearestExisting(dir))
  return mount === undefined ? undefined : { device: mount.source, mountPoint: mount.mountPoint.toString() }
}

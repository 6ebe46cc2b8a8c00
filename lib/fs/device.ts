/** Devices by their numbers: in a container, /dev need not have a node of one, or has another machine's. */
import { constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasCode } from '../errors.ts'
import { AT_FDCWD, binding, type DeviceNumber } from '../native/binding.ts'
import { OwnedFd } from '../native/fd.ts'
import { AT, S } from '../native/flags.ts'

export interface Device extends DeviceNumber {
  readonly kind: 'block' | 'character'
  /** Its usual place below /dev. */
  readonly name: string
}

const TYPE = { block: S.S_IFBLK, character: S.S_IFCHR } as const

/** Opens `device` for reading: its usual node, or one that is there for this moment. */
export async function openDevice(device: Device): Promise<OwnedFd> {
  return (await openNode(join('/dev', device.name), device)) ?? (await openOwnNode(device))
}

/** Undefined where the node is not there, or is another device's. */
async function openNode(path: string, { kind, major, minor }: Device): Promise<OwnedFd | undefined> {
  try {
    const stat = await binding.statx(AT_FDCWD, path, AT.AT_SYMLINK_NOFOLLOW)
    const isIt = (stat.mode & S.S_IFMT) === TYPE[kind] && stat.rdevMajor === major && stat.rdevMinor === minor
    return isIt ? new OwnedFd(openSync(path, constants.O_RDONLY)) : undefined
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

async function openOwnNode(device: Device): Promise<OwnedFd> {
  const dir = nodeFolder()
  try {
    const path = join(dir, 'node')
    await binding.mknodat(AT_FDCWD, path, TYPE[device.kind] | 0o600, device.major, device.minor)
    return new OwnedFd(openSync(path, constants.O_RDONLY))
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** In /dev where that can be written to: other file systems may be mounted nodev. */
function nodeFolder(): string {
  try {
    return mkdtempSync('/dev/overlaid-')
  } catch (error) {
    if (!hasCode(error, 'EROFS', 'ENOENT', 'EACCES', 'EPERM')) throw error
    return mkdtempSync(join(tmpdir(), 'overlaid-'))
  }
}

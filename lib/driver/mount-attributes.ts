/** The options of a mount that belong to the mount and not to the file system. */
import { MOUNT_ATTR, MS } from '../native/flags.ts'
import type { MountOptions } from './driver.ts'

const ATTRIBUTES = {
  nosuid: [MOUNT_ATTR.MOUNT_ATTR_NOSUID, MS.MS_NOSUID],
  nodev: [MOUNT_ATTR.MOUNT_ATTR_NODEV, MS.MS_NODEV],
  noexec: [MOUNT_ATTR.MOUNT_ATTR_NOEXEC, MS.MS_NOEXEC],
  noatime: [MOUNT_ATTR.MOUNT_ATTR_NOATIME, MS.MS_NOATIME],
  readOnly: [MOUNT_ATTR.MOUNT_ATTR_RDONLY, MS.MS_RDONLY],
} as const

/** As MOUNT_ATTR_* bits. */
export function mountAttributes(options: MountOptions): number {
  return attributeBits(options, 0)
}

/** As MS_* flags, for mount(2). */
export function mountFlags(options: MountOptions): number {
  return attributeBits(options, 1)
}

function attributeBits(options: MountOptions, column: 0 | 1): number {
  const names = Object.keys(ATTRIBUTES) as (keyof typeof ATTRIBUTES)[]
  return names.reduce((bits, name) => (options[name] === true ? bits | ATTRIBUTES[name][column] : bits), 0)
}

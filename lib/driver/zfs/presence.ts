/** Whether this machine has ZFS at all: its device, which the kernel module makes, and its command. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { hasCode } from '../../errors.ts'

export interface Places {
  readonly device?: string
  /** As PATH spells it. */
  readonly path?: string
}

/** What ZFS needs and this machine has not, in words; none where all is there. */
export function missingOfZfs({
  device = '/dev/zfs',
  path = process.env['PATH'] ?? '',
}: Places = {}): string[] {
  const folders = path.split(delimiter).filter((folder) => folder !== '')
  const missing = []
  if (!may(device, constants.F_OK)) missing.push(`the device ${device} (modprobe zfs)`)
  if (!folders.some((folder) => may(join(folder, 'zfs'), constants.X_OK))) {
    missing.push('the command zfs (apt-get install zfsutils-linux)')
  }
  return missing
}

function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP')) return false
    throw error
  }
}

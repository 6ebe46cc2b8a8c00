/** Whether this machine has ZFS at all: its device, which the kernel module makes, and its command. */
import { existsSync } from 'node:fs'
import { findProgram } from '../../fs/find-program.ts'

export const PROGRAM = 'zfs'

export interface Places {
  readonly device?: string
  /** As PATH spells it. */
  readonly path?: string
}

/** What ZFS needs and this machine has not, in words; none where all is there. */
export function missingOfZfs({ device = '/dev/zfs', path }: Places = {}): string[] {
  const missing = []
  if (!existsSync(device)) missing.push(`the device ${device} (modprobe zfs)`)
  if (findProgram(PROGRAM, path) === undefined) {
    missing.push('the command zfs (apt-get install zfsutils-linux)')
  }
  return missing
}

/** What a driver says that lacks what a container's layer is to have. */
import { OverlaidError } from '../errors.ts'

export function noSizes(name: string): OverlaidError {
  return new OverlaidError('ERR_UNSUPPORTED_FS', `the driver ${name} cannot limit the size of a container`, {
    hint: 'leave the size out, or use another driver: overlay2 on ext4 or XFS with project quotas, btrfs or zfs',
  })
}

/** @param why after a colon */
export function noIDMaps(name: string, why: string): OverlaidError {
  return new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `the driver ${name} cannot map the ids of a container: ${why}`,
    {
      hint: 'leave the id map out, or use another driver: overlay2, btrfs, vfs',
    },
  )
}

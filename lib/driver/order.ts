/** In which order Docker tried its drivers where nothing decided, release by release (graphdriver/driver_linux.go). */
import { OverlaidError } from '../errors.ts'

/** Drivers that Docker has no more; a root may still hold their state. */
export const RETIRED_NAMES: readonly string[] = ['aufs', 'overlay', 'devicemapper']

/** Today's. */
export const DOCKER_ORDER: readonly string[] = ['overlay2', 'fuse-overlayfs', 'btrfs', 'zfs', 'vfs']

/** The orders of before, each with the first release that had it, as major * 100 + minor. */
const ORDERS: readonly (readonly [since: number, order: readonly string[]])[] = [
  [18_09, ['btrfs', 'zfs', 'overlay2', 'aufs', 'overlay', 'devicemapper', 'vfs']],
  [20_10, ['btrfs', 'zfs', 'overlay2', 'fuse-overlayfs', 'aufs', 'overlay', 'devicemapper', 'vfs']],
  [23_00, ['overlay2', 'fuse-overlayfs', 'btrfs', 'zfs', 'aufs', 'overlay', 'devicemapper', 'vfs']],
  [24_00, ['overlay2', 'fuse-overlayfs', 'btrfs', 'zfs', 'devicemapper', 'vfs']],
  [25_00, DOCKER_ORDER],
]

/**
 * The order of Docker `version`, such as `20.10`; today's when it is undefined. What that release did not have
 * follows at the end: Docker too goes on to the drivers that its list does not name.
 * @throws ERR_INVALID_ARGUMENT for what is no version, or one before 18.09
 */
export function driverOrder(version: string | undefined): readonly string[] {
  if (version === undefined) return DOCKER_ORDER
  const [, major, minor = '0'] = /^(\d{2})(?:\.(\d{1,2})(?:\.\d+)?)?\+?$/.exec(version) ?? []
  const number = Number(major) * 100 + Number(minor)
  const order = ORDERS.findLast(([since]) => since <= number)?.[1]
  if (order !== undefined) return [...order, ...DOCKER_ORDER.filter((name) => !order.includes(name))]
  throw new OverlaidError(
    'ERR_INVALID_ARGUMENT',
    `no driver order of Docker ${JSON.stringify(version)} is known`,
    {
      hint: 'name a release from 18.09 on: 18.09, 19.03, 20.10, 23.0, 24.0, 25.0 or later',
    },
  )
}

import { describe, expect, it } from 'vitest'
import { DOCKER_ORDER, driverOrder } from '../../lib/driver/order.ts'

/** graphdriver/driver_linux.go of each release. */
const OF_18_09 = ['btrfs', 'zfs', 'overlay2', 'aufs', 'overlay', 'devicemapper', 'vfs']
const OF_20_10 = ['btrfs', 'zfs', 'overlay2', 'fuse-overlayfs', 'aufs', 'overlay', 'devicemapper', 'vfs']
const OF_23_0 = ['overlay2', 'fuse-overlayfs', 'btrfs', 'zfs', 'aufs', 'overlay', 'devicemapper', 'vfs']
const OF_24_0 = ['overlay2', 'fuse-overlayfs', 'btrfs', 'zfs', 'devicemapper', 'vfs']

describe('driverOrder', () => {
  it.each([
    // What a release did not have yet is tried last.
    ['18.09', [...OF_18_09, 'fuse-overlayfs']],
    ['18.09.9', [...OF_18_09, 'fuse-overlayfs']],
    ['19.03', [...OF_18_09, 'fuse-overlayfs']],
    ['20.10', OF_20_10],
    ['20.10.24', OF_20_10],
    ['23.0', OF_23_0],
    ['23', OF_23_0],
    ['24.0', OF_24_0],
    ['25.0', DOCKER_ORDER],
    ['25+', DOCKER_ORDER],
    ['29.1.3', DOCKER_ORDER],
    [undefined, ['overlay2', 'fuse-overlayfs', 'btrfs', 'zfs', 'vfs']],
  ])('of %s', (version, order) => {
    expect(driverOrder(version)).toEqual(order)
  })

  it.each(['', '17.06', '1.13', 'latest', '20.10-ce', '20.10,vfs', '20.'])('knows none of %j', (version) => {
    expect(() => driverOrder(version)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }))
  })
})

/** What is said of file systems that few test machines have, by their magic numbers. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { knownUnfit } from '../../lib/driver/file-systems.ts'
import { missingOfZfs } from '../../lib/driver/zfs/presence.ts'
import { tempDir } from '../helpers/temp-dir.ts'

describe('knownUnfit', () => {
  it.each([
    [0x6969, 'NFS is a network file system', 'local disk'],
    [0x517b, 'SMB (smbfs) is a network file system', 'mkfs.ext4 FILE'],
    [0xff534d42, 'SMB (cifs) is a network file system', 'mkfs.ext4 FILE'],
    [0xfe534d42, 'SMB (smb2, smb3) is a network file system', 'mkfs.ext4 FILE'],
    [0x5346414f, 'AFS is a network file system', 'local disk'],
    [0x00c36400, 'CephFS is shared by several machines', 'this machine alone'],
    [0x0bd00bd0, 'Lustre is shared by several machines', 'this machine alone'],
    [0x47504653, 'GPFS is shared by several machines', 'this machine alone'],
    [0x7461636f, 'OCFS2 is shared by several machines', 'this machine alone'],
    [0x65735546, 'FUSE passes files through', 'mkfs.ext4 FILE'],
    [0x01021997, '9p passes files through', 'mkfs.ext4 FILE'],
    [0x4d44, 'FAT knows no Unix owners', 'ext4, xfs or btrfs'],
    [0x2011bab0, 'exFAT knows no Unix owners', 'ext4, xfs or btrfs'],
    [0x5346544e, 'NTFS knows no Unix owners', 'ext4, xfs or btrfs'],
    [0x858458f6, 'ramfs keeps no trusted.* attributes', 'mount -t tmpfs'],
    [0x2fc12fc1, 'ZFS keeps no whiteouts', 'OpenZFS'],
  ])('explains 0x%s: a trial decides', (magic, why, remedy) => {
    expect(knownUnfit(magic)).toMatchObject({
      why: expect.stringContaining(why) as string,
      remedy: expect.stringContaining(remedy) as string,
      isCertain: false,
      isReadOnly: false,
    })
  })

  it.each([
    [0x794c7630, 'overlayfs cannot carry the upper directory', 'volume or a tmpfs'],
    [0x61756673, 'aufs shows the files of another', 'the file system below it'],
    [0xf15f, 'eCryptfs shows the files of another', 'the file system below it'],
  ])('refuses 0x%s without a trial', (magic, why, remedy) => {
    expect(knownUnfit(magic)).toMatchObject({
      why: expect.stringContaining(why) as string,
      remedy: expect.stringContaining(remedy) as string,
      isCertain: true,
    })
  })

  it.each([0x73717368, 0xe0f5e1e2, 0x28cd3d45, 0x9660])('knows that 0x%s is never written', (magic) => {
    expect(knownUnfit(magic)).toMatchObject({
      isReadOnly: true,
      why: expect.stringMatching(/ can only be read, never written$/) as string,
    })
  })

  it.each([
    ['ext4', 0xef53],
    ['xfs', 0x58465342],
    ['btrfs', 0x9123683e],
    ['tmpfs', 0x01021994],
    ['f2fs', 0xf2f52010],
    ['one that nobody knows', 0x12345678],
  ])('has nothing against %s', (_name, magic) => {
    expect(knownUnfit(magic)).toBeUndefined()
  })
})

describe('missingOfZfs', () => {
  it('names the device and the command where they are missing, and how to get them', () => {
    using dir = tempDir()
    const missing = missingOfZfs({ device: join(dir.path, 'zfs'), path: `${dir.path}:/nonexistent::` })
    expect(missing).toEqual([
      `the device ${dir.path}/zfs (modprobe zfs)`,
      'the command zfs (apt-get install zfsutils-linux)',
    ])
  })

  it('finds both, and takes no file that cannot be run for the command', () => {
    using dir = tempDir()
    const device = join(dir.path, 'device')
    const [good, bad] = [join(dir.path, 'good'), join(dir.path, 'bad')]
    for (const [folder, mode] of [[good, 0o755] as const, [bad, 0o644] as const]) {
      mkdirSync(folder)
      writeFileSync(join(folder, 'zfs'), '', { mode })
    }
    writeFileSync(device, '')
    expect(missingOfZfs({ device, path: `${bad}:${good}` })).toEqual([])
    expect(missingOfZfs({ device, path: bad })).toHaveLength(1)
  })
})

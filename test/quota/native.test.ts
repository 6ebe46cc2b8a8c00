/** Projects and their quotas, by the addon's calls alone. */
import { execFileSync } from 'node:child_process'
import { constants, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { FS_QUOTA, FS_XFLAG } from '../../lib/native/flags.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { MIB } from '../helpers/sizes.ts'

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY

describe
  .skipIf(missing('hasBinding', 'canLoop', 'hasProjectQuota'))
  .each(['ext4-quota', 'xfs-quota'] as const)('project quotas on %s', (kind) => {
  let fs: LoopFileSystem
  let dir: string
  let count = 0
  beforeAll(() => {
    fs = loopFileSystem(kind)
  })
  afterAll(() => fs.dispose())
  beforeEach(() => {
    dir = join(fs.dir, `folder-${String(count++)}`)
    mkdirSync(dir)
  })
  const opened = (path = dir): OwnedFd => new OwnedFd(openSync(path, DIRECTORY))

  it('are counted and enforced', async () => {
    using fd = opened()
    const state = await binding.quotactlState(fd.fd, fs.device)
    const both = FS_QUOTA.FS_QUOTA_PDQ_ACCT | FS_QUOTA.FS_QUOTA_PDQ_ENFD
    expect(state & both).toBe(both)
  })

  it('a folder hands its project on', async () => {
    using fd = opened()
    expect(await binding.fsgetxattr(fd.fd)).toMatchObject({ projectID: 0 })
    await binding.fssetxattr(fd.fd, FS_XFLAG.FS_XFLAG_PROJINHERIT, 77)
    mkdirSync(join(dir, 'a/b'), { recursive: true })
    using inner = opened(join(dir, 'a/b'))
    const project = await binding.fsgetxattr(inner.fd)
    expect(project.projectID).toBe(77)
    expect(project.xflags & FS_XFLAG.FS_XFLAG_PROJINHERIT).not.toBe(0)
  })

  it('limits and counters are in bytes, and a limit can be taken away', async () => {
    using fd = opened()
    await binding.fssetxattr(fd.fd, FS_XFLAG.FS_XFLAG_PROJINHERIT, 78)
    await binding.quotactlSet(fd.fd, fs.device, 78, 8 * MIB)
    expect(await binding.quotactlGet(fd.fd, fs.device, 78)).toMatchObject({ limit: 8 * MIB, inodes: 1 })
    writeFileSync(join(dir, 'file'), Buffer.alloc(MIB, 1))
    execFileSync('sync', ['-f', dir])
    const { used, inodes } = await binding.quotactlGet(fd.fd, fs.device, 78)
    expect(inodes).toBe(2)
    expect(used).toBeGreaterThanOrEqual(MIB)
    expect(used).toBeLessThan(2 * MIB)
    await binding.quotactlSet(fd.fd, fs.device, 78, 0)
    expect((await binding.quotactlGet(fd.fd, fs.device, 78)).limit).toBe(0)
  })

  it('a project is free when nothing belongs to it, whatever its limit', async () => {
    using fd = opened()
    await binding.quotactlSet(fd.fd, fs.device, 100, MIB)
    expect(await binding.quotactlFindFree(fd.fd, fs.device, 100)).toBe(100)
    await binding.fssetxattr(fd.fd, FS_XFLAG.FS_XFLAG_PROJINHERIT, 100)
    expect(await binding.quotactlFindFree(fd.fd, fs.device, 100)).toBe(101)
    rmSync(dir, { recursive: true })
  })

  it('the device is asked where quotactl_fd is missing', () => {
    const root = JSON.stringify(join(import.meta.dirname, '../..'))
    const program = `
        const addon = require(${root} + '/node_modules/node-gyp-build')(${root})
        const fd = require('node:fs').openSync(${JSON.stringify(dirname(dir))}, 'r')
        addon.quotactlSet(fd, ${JSON.stringify(fs.device)}, 120, 4096)
          .then(() => addon.quotactlGet(fd, ${JSON.stringify(fs.device)}, 120))
          .then(({ limit }) => console.log(addon.hasQuotactlFd(), limit))`
    const inject = ['-f', '-qq', '-o', '/dev/null', '-e', 'trace=quotactl_fd']
    const blocked = [...inject, '-e', 'inject=quotactl_fd:error=ENOSYS', process.execPath, '-e', program]
    expect(execFileSync('strace', blocked, { encoding: 'utf8' }).trim()).toBe('false 4096')
  })
})

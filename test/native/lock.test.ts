import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { binding, type LockKind } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'

let temp: TempDir
let path: string

describe.skipIf(missing('hasBinding')).each(['ofdLock', 'flock'] as const)('%s', (name) => {
  const lock = (fd: OwnedFd, kind: LockKind): Promise<boolean> => binding[name](fd.fd, kind)
  watchLeaks(() => [temp.path])
  beforeEach(() => {
    temp = tempDir('lock')
    path = join(temp.path, 'lock')
    writeFileSync(path, '')
  })
  afterEach(() => {
    temp[Symbol.dispose]()
  })

  it('excludes another description of the same process', async () => {
    using a = new OwnedFd(openSync(path, 'r+'))
    using b = new OwnedFd(openSync(path, 'r+'))
    expect(await lock(a, 'write')).toBe(true)
    expect(await lock(b, 'write')).toBe(false)
    expect(await lock(b, 'read')).toBe(false)
    expect(await lock(a, 'unlock')).toBe(true)
    expect(await lock(b, 'write')).toBe(true)
  })

  it('is shared by readers', async () => {
    using a = new OwnedFd(openSync(path, 'r+'))
    using b = new OwnedFd(openSync(path, 'r+'))
    expect(await lock(a, 'read')).toBe(true)
    expect(await lock(b, 'read')).toBe(true)
    expect(await lock(a, 'write')).toBe(false)
  })

  it('ends with the descriptor', async () => {
    const a = new OwnedFd(openSync(path, 'r+'))
    using b = new OwnedFd(openSync(path, 'r+'))
    expect(await lock(a, 'write')).toBe(true)
    a.close()
    expect(await lock(b, 'write')).toBe(true)
  })

  it('ends when its process is killed', async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', holder(name, path)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    using fd = new OwnedFd(openSync(path, 'r+'))
    expect(await lock(fd, 'write')).toBe(false)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await lock(fd, 'write')).toBe(true)
  })

  it('fails on a closed descriptor and on a kind that is none', async () => {
    await expect(binding[name](-1, 'write')).rejects.toMatchObject({ code: 'EBADF' })
    expect(() => binding[name](0, 'exclusive' as LockKind)).toThrow(TypeError)
  })
})

/** A program that takes the lock, says so, and stays. */
function holder(name: string, file: string): string {
  const root = JSON.stringify(join(import.meta.dirname, '../..'))
  return `
    import { createRequire } from 'node:module'
    import { openSync } from 'node:fs'
    const addon = createRequire(import.meta.url)(${root} + '/node_modules/node-gyp-build')(${root})
    await addon.${name}(openSync(${JSON.stringify(file)}, 'r+'), 'write')
    console.log('locked')
    setInterval(() => {}, 1000)
  `
}

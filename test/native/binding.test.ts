import { afterEach, describe, expect, it, vi } from 'vitest'
import { isOverlaidError, OverlaidError, SyscallError } from '../../lib/errors.ts'
import { binding } from '../../lib/native/binding.ts'
import { flagNames, MNT, MS } from '../../lib/native/flags.ts'
import { toSyscallError } from '../../lib/native/syscall-error.ts'
import { missing } from '../helpers/gates.ts'

describe('the binding, where the addon is missing', () => {
  afterEach(() => {
    vi.unstubAllEnvs()
    vi.resetModules()
  })

  it('is loaded at first use, and then says how to build it', async () => {
    vi.stubEnv('OVERLAID_PREBUILD', '/nonexistent')
    vi.resetModules()
    const fresh = await import('../../lib/native/binding.ts')
    const use = (): unknown => fresh.binding.statfs('/')
    expect(use).toThrow(
      expect.objectContaining({
        code: 'ERR_NO_BINDING',
        message: expect.stringContaining(`${process.platform}-${process.arch}`) as string,
        hint: expect.stringMatching(/npm run build:native.*C\+\+20.*python3/) as string,
      }),
    )
  })
})

describe.skipIf(missing('hasBinding'))('an error of a system call', () => {
  it('has the fields of node:fs, the flags by name and a hint', async () => {
    const error: unknown = await binding
      .umount2('/nowhere', MNT.MNT_DETACH)
      .catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(SyscallError)
    expect(isOverlaidError(error)).toBe(true)
    expect(error).toMatchObject({
      message: "ENOENT: no such file or directory, umount2 '/nowhere'",
      code: 'ENOENT',
      errno: -2,
      syscall: 'umount2',
      path: '/nowhere',
      flags: ['MNT_DETACH'],
    })
    await expect(binding.umount2('/tmp', 0)).rejects.toMatchObject({
      code: 'EINVAL',
      hint: 'nothing is mounted there',
    })
  })

  it('tells both paths of a mount', async () => {
    const mount = binding.mount('/from', '/nowhere/to', 'ext4', MS.MS_BIND | MS.MS_RDONLY, '')
    await expect(mount).rejects.toMatchObject({
      message: "ENOENT: no such file or directory, mount '/from' -> '/nowhere/to'",
      path: '/from',
      dest: '/nowhere/to',
      flags: ['MS_RDONLY', 'MS_BIND'],
    })
  })

  it('has the frames of who waits for it', async () => {
    async function someCaller(): Promise<void> {
      await binding.statfs('/nowhere')
    }
    const error: unknown = await someCaller().catch((caught: unknown) => caught)
    expect((error as Error).stack).toContain('someCaller')
  })

  it('keeps bytes that are not UTF-8 out of the way of the message', async () => {
    await expect(binding.statfs(Buffer.from([0x2f, 0xff]))).rejects.toMatchObject({ path: '/\ufffd' })
  })
})

describe.skipIf(missing('hasBinding'))('an argument of the wrong type', () => {
  const wrong: readonly (readonly [string, () => unknown])[] = [
    ['a number for a path', () => binding.statfs(1 as unknown as string)],
    ['a NUL in a path', () => binding.statfs('a\0b')],
    ['a NUL in bytes', () => binding.statfs(Buffer.from('a\0b'))],
    ['a string for a descriptor', () => binding.fstatfs('1' as unknown as number)],
    ['a fraction for a descriptor', () => binding.fstatfs(1.5)],
    ['a descriptor beyond int', () => binding.fstatfs(2 ** 40)],
    ['NaN', () => binding.fstatfs(NaN)],
    ['a missing argument', () => (binding.umount2 as (target: string) => unknown)('/')],
    ['a number for a bigint', () => binding.statmount(1 as unknown as bigint)],
    ['a negative bigint', () => binding.statmount(-1n)],
    ['an empty path for an xattr', () => binding.llistxattr('')],
    ['another typed array', () => binding.statfs(new Uint16Array(1) as unknown as Uint8Array)],
  ]
  it.each(wrong)('throws at once: %s', (_, call) => {
    expect(call).toThrow(expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }))
  })
})

describe('flagNames', () => {
  it.each([
    ['mount', MS.MS_RDONLY | MS.MS_NOSUID, ['MS_RDONLY', 'MS_NOSUID']],
    ['umount2', 0, []],
    ['mount', 2 ** 31 + 1, ['MS_RDONLY', '0x80000000']],
    ['unknown', 3, ['0x3']],
  ])('of %s %i', (syscall, word, names) => {
    expect(flagNames(syscall, word)).toEqual(names)
  })
})

describe('toSyscallError', () => {
  it('leaves other errors alone', () => {
    const error = new TypeError('not ours')
    expect(toSyscallError(error)).toBe(error)
    const domain = new OverlaidError('ERR_IN_USE', 'busy')
    expect(toSyscallError(domain)).toBe(domain)
    expect(toSyscallError('text')).toBe('text')
  })

  it.each(['EINVAL', 'ENOSPC', 'EBUSY', 'ELOOP', 'ESTALE', 'EPERM', 'ENODEV'])(
    'hints at what %s of a mount means',
    (code) => {
      const raw = Object.assign(new Error(code), { code, errno: -1, syscall: 'mount' })
      expect((toSyscallError(raw) as SyscallError).hint).toMatch(/\w{3}/)
    },
  )
})

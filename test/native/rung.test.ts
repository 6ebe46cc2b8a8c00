import { openSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { SyscallError } from '../../lib/errors.ts'

function refusal(code: string): SyscallError {
  return new SyscallError(code, { code, errno: -1, syscall: 'fsconfig' })
}

/** What the calls of the probe answer on a kernel: an errno name, or undefined for success. */
interface Kernel {
  readonly fsopen?: string
  readonly nonsense?: string
  readonly setFd?: string
  readonly setString?: string
}

const binding = (kernel: Kernel) => {
  const answer = (code: string | undefined): Promise<number> =>
    code === undefined ? Promise.resolve(0) : Promise.reject(refusal(code))
  return {
    AT_FDCWD: -100,
    binding: {
      fsopen: async () => {
        await answer(kernel.fsopen)
        return openSync('/dev/null', 'r')
      },
      fsconfigSetFlag: () => answer(kernel.nonsense),
      fsconfigSetFd: () => answer(kernel.setFd),
      fsconfigSetString: () => answer(kernel.setString),
      openat: () => Promise.resolve(openSync('/dev/null', 'r')),
    },
  }
}

describe('bestRung', () => {
  afterEach(() => {
    vi.doUnmock('../../lib/native/binding.ts')
    vi.resetModules()
  })

  async function rungOf(kernel: Kernel): Promise<string> {
    vi.resetModules()
    vi.doMock('../../lib/native/binding.ts', () => binding(kernel))
    const { bestRung } = await import('../../lib/native/rung.ts')
    return bestRung()
  }

  const kernels: readonly (readonly [string, Kernel, string])[] = [
    ['4.18: no fsopen', { fsopen: 'ENOSYS' }, 'mount2'],
    ['5.10 and 6.1: a context that takes any option', { setFd: 'EOPNOTSUPP' }, 'mount2'],
    ['6.6: no lowerdir+', { nonsense: 'EINVAL', setFd: 'EINVAL', setString: 'EINVAL' }, 'mount2'],
    ['6.12: no descriptors', { nonsense: 'EINVAL', setFd: 'EBADF' }, 'lowerdir+'],
    ['6.18', { nonsense: 'EINVAL' }, 'fds'],
    ['a seccomp filter', { fsopen: 'EPERM' }, 'mount2'],
    ['no overlay module', { fsopen: 'ENODEV' }, 'mount2'],
  ]
  it.each(kernels)('on %s', async (_, kernel, rung) => {
    expect(await rungOf(kernel)).toBe(rung)
  })

  it('passes on what is no refusal', async () => {
    await expect(rungOf({ fsopen: 'EMFILE' })).rejects.toMatchObject({ code: 'EMFILE' })
    await expect(rungOf({ nonsense: 'EINVAL', setFd: 'ENOMEM' })).rejects.toMatchObject({ code: 'ENOMEM' })
  })
})

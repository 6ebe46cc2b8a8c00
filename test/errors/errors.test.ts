import { describe, expect, it, vi } from 'vitest'
import {
  CODES,
  EXIT,
  OverlaidError,
  SyscallError,
  exitStatus,
  hasCode,
  isOverlaidError,
} from '../../lib/errors.ts'

const busy = new SyscallError("EBUSY: resource busy or locked, mount '/a' -> '/b'", {
  code: 'EBUSY',
  errno: -16,
  syscall: 'mount',
  path: '/a',
  dest: '/b',
  flags: ['MS_RDONLY'],
  hint: 'unmount it first',
})

describe('OverlaidError', () => {
  it('carries its code and facts as properties, and only those it was given', () => {
    const cause = new Error('below')
    const error = new OverlaidError('ERR_BAD_TAR', 'truncated', { path: '/x.tar', cause })
    expect(error).toMatchObject({ name: 'OverlaidError', code: 'ERR_BAD_TAR', path: '/x.tar', cause })
    expect(Object.keys(error)).not.toContain('hint')
  })

  it('keeps the fields of Node fs errors in a system call error', () => {
    expect(busy).toMatchObject({ code: 'EBUSY', errno: -16, syscall: 'mount', path: '/a', dest: '/b' })
    expect(busy.flags).toEqual(['MS_RDONLY'])
  })
})

describe('isOverlaidError', () => {
  it('knows an error made by another copy of the module', async () => {
    vi.resetModules()
    const copy = await import('../../lib/errors.ts')
    const error = new copy.OverlaidError('ERR_IN_USE', 'busy')
    expect(error).not.toBeInstanceOf(OverlaidError)
    expect(isOverlaidError(error)).toBe(true)
  })

  it.each([undefined, null, 'ERR_IN_USE', new Error('x'), { code: 'ERR_IN_USE' }])('refuses %o', (value) => {
    expect(isOverlaidError(value)).toBe(false)
  })
})

describe('hasCode', () => {
  it('matches any of the codes given, of any kind of error', () => {
    expect(hasCode(busy, 'ENOENT', 'EBUSY')).toBe(true)
    expect(hasCode(Object.assign(new Error('x'), { code: 'ENOENT' }), 'ENOENT')).toBe(true)
    expect(hasCode(busy, 'ENOENT')).toBe(false)
    expect(hasCode('EBUSY', 'EBUSY')).toBe(false)
  })
})

describe('exitStatus', () => {
  it.each(Object.entries(CODES))('gives %s the status of the table', (code, facts) => {
    expect(exitStatus(new OverlaidError(code as keyof typeof CODES, 'x'))).toBe(EXIT[facts.exit])
    expect(EXIT[facts.exit]).toBeGreaterThan(EXIT.ok)
  })

  it('calls a missing privilege or system call a limit of the machine', () => {
    expect(exitStatus(Object.assign(new Error('x'), { code: 'EPERM' }))).toBe(EXIT.unsupported)
    expect(exitStatus(Object.assign(new Error('x'), { code: 'ENOSYS' }))).toBe(EXIT.unsupported)
  })

  it('calls anything else a failure', () => {
    expect(exitStatus(Object.assign(new Error('x'), { code: 'ENOSPC' }))).toBe(EXIT.failed)
    expect(exitStatus(new Error('x'))).toBe(EXIT.failed)
    expect(exitStatus(undefined)).toBe(EXIT.failed)
  })
})

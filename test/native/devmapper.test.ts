/** The device mapper's calls where nothing answers them; with the kernel's: test/thin. */
import { openSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { missing } from '../helpers/gates.ts'

describe.skipIf(missing('hasBinding'))('the calls of the device mapper', () => {
  const opened = (): number => {
    const fd = new OwnedFd(openSync('/dev/null', 'r'))
    onTestFinished(() => fd.close())
    return fd.fd
  }
  const target = { type: 'thin', sectors: 1, parameters: '253:0 1', readOnly: true }

  it.each([
    ['DM_GET_TARGET_VERSION', (fd: number) => binding.dmGetTargetVersion(fd, 'name')],
    ['DM_DEV_CREATE', (fd: number) => binding.dmDevCreate(fd, 'name')],
    ['DM_TABLE_LOAD', (fd: number) => binding.dmTableLoad(fd, 'name', target)],
    ['DM_TABLE_STATUS', (fd: number) => binding.dmTableStatus(fd, 'name')],
    ['DM_DEV_SUSPEND', (fd: number) => binding.dmDevResume(fd, 'name')],
    ['DM_DEV_REMOVE', (fd: number) => binding.dmDevRemove(fd, 'name', { deferred: true })],
  ])('%s says its name and the device’s when it fails', async (syscall, call) => {
    await expect(call(opened())).rejects.toMatchObject({ code: 'ENOTTY', syscall, path: 'name' })
  })

  it('DM_LIST_DEVICES is about none', async () => {
    await expect(binding.dmListDevices(opened())).rejects.toMatchObject({
      code: 'ENOTTY',
      syscall: 'DM_LIST_DEVICES',
    })
  })

  it('a name or a type that does not fit is refused, not cut', async () => {
    const name = 'n'.repeat(128)
    await expect(binding.dmDevCreate(opened(), name)).rejects.toMatchObject({
      code: 'ENAMETOOLONG',
      path: name,
    })
    const type = 't'.repeat(16)
    await expect(binding.dmTableLoad(opened(), 'name', { ...target, type })).rejects.toMatchObject({
      code: 'ENAMETOOLONG',
      path: type,
    })
  })

  it('arguments of the wrong type are refused at once', () => {
    const wrong = { ...target, sectors: 0.5 }
    expect(() => binding.dmTableLoad(0, 'name', wrong)).toThrow('"sectors" must be an integer in range')
    expect(() => binding.dmDevCreate(0, 'a\0b')).toThrow('"name" must be a path without NUL bytes')
  })
})

/** Files as block devices that nobody can write to. */
import { constants, openSync, readdirSync, statSync } from 'node:fs'
import { hasCode } from '../../errors.ts'
import { type Device, openDevice } from '../../fs/device.ts'
import { binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'

/** LOOP_CTRL_MINOR of linux/miscdevice.h; the kernel loads the module when it is opened. */
const CONTROL: Device = { kind: 'character', name: 'loop-control', major: 10, minor: 237 }
/** LOOP_MAJOR */
const MAJOR = 7
/** How often another process may take the free device first. */
const ATTEMPTS = 64

const deviceOf = (number: number): Device => ({
  kind: 'block',
  name: `loop${String(number)}`,
  major: MAJOR,
  minor: number,
})

/** `7:N`, as tables of the device mapper take it; gone when the last who has it open closes it. */
export interface LoopDevice extends Disposable {
  readonly number: string
}

/** The first `size` bytes of the file `path`, whose access time stays as it is. */
export async function attachLoop(path: string, size: number): Promise<LoopDevice> {
  using file = new OwnedFd(openSync(path, constants.O_RDONLY | constants.O_NOATIME))
  using control = await openDevice(CONTROL)
  for (let attempt = 1; ; attempt++) {
    const minor = await binding.loopCtlGetFree(control.fd)
    const device = await openDevice(deviceOf(minor))
    try {
      await binding.loopConfigure(device.fd, file.fd, size)
      return { number: `${String(MAJOR)}:${String(minor)}`, [Symbol.dispose]: () => device.close() }
    } catch (error) {
      device.close()
      if (!hasCode(error, 'EBUSY') || attempt === ATTEMPTS) throw error
    }
  }
}

/** The loop device that may write to the file `path`, as `loopN`; undefined where there is none. */
export async function writingLoop(path: string): Promise<string | undefined> {
  const { dev, ino } = statSync(path, { bigint: true })
  for (const name of readdirSync('/sys/block')) {
    const [, number] = /^loop(\d+)$/.exec(name) ?? []
    if (number === undefined) continue
    using device = await openDevice(deviceOf(Number(number)))
    const status = await binding.loopGetStatus64(device.fd)
    if (status?.device === dev && status.inode === ino && !status.readOnly) return name
  }
  return undefined
}

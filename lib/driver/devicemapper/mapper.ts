/**
 * Mapped devices of this process. Each is marked to be removed when it is closed as soon as it is open, so that the
 * kernel takes it down, and what lies below it, when this process is killed.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { hasCode, OverlaidError } from '../../errors.ts'
import { type Device, openDevice } from '../../fs/device.ts'
import { Undo } from '../../fs/undo.ts'
import { binding, type DeviceNumber, type MappedTarget } from '../../native/binding.ts'
import type { OwnedFd } from '../../native/fd.ts'

/** MAPPER_CTRL_MINOR of linux/miscdevice.h; the kernel loads the module when it is opened. */
const CONTROL: Device = { kind: 'character', name: 'mapper/control', major: 10, minor: 236 }

/** The way that needs nothing of this machine. */
export const SAVE_THERE =
  'start a Docker up to 24.0 with that driver, `docker save` the images, and load them here'

export interface MappedDevice extends AsyncDisposable {
  /** `major:minor`, as tables take it. */
  readonly number: string
  readonly fd: number
  /** What its target says of itself. */
  status(): Promise<string>
}

export class Mapper implements Disposable {
  readonly #control: OwnedFd
  readonly #prefix = `overlaid-${String(process.pid)}-${randomBytes(4).toString('hex')}`
  #count = 0

  private constructor(control: OwnedFd) {
    this.#control = control
  }

  /** Removes what a killed process left as well. @throws ERR_UNSUPPORTED_KERNEL where there are no thin pools */
  static async open(): Promise<Mapper> {
    const control = await openControl()
    try {
      await requireThinPools(control)
      const mapper = new Mapper(control)
      await mapper.#removeStale()
      return mapper
    } catch (error) {
      control.close()
      throw error
    }
  }

  /** All mapped devices, whoever made them. */
  names(): Promise<string[]> {
    return binding.dmListDevices(this.#control.fd)
  }

  /** A device named after this process and `kind`. */
  async create(kind: 'pool' | 'thin', target: MappedTarget): Promise<MappedDevice> {
    const control = this.#control.fd
    const name = `${this.#prefix}-${kind}-${String(this.#count++)}`
    await using undo = new Undo()
    const number = await binding.dmDevCreate(control, name)
    undo.add({ [Symbol.asyncDispose]: () => remove(control, name) })
    await binding.dmTableLoad(control, name, target)
    await binding.dmDevResume(control, name)
    const device = undo.add(await openDevice(nodeOf(number)))
    await binding.dmDevRemove(control, name, { deferred: true })
    const kept = undo.keep()
    return {
      number: `${String(number.major)}:${String(number.minor)}`,
      fd: device.fd,
      status: () => binding.dmTableStatus(control, name),
      [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose](),
    }
  }

  /** Of a process that was killed between two calls. A living one has its devices open, which keeps them (EBUSY). */
  async #removeStale(): Promise<void> {
    const stale = (await this.names()).filter((name) => {
      const [, pid] = /^overlaid-(\d+)-[0-9a-f]{8}-(?:pool|thin)-\d+$/.exec(name) ?? []
      return pid !== undefined && !isRunning(Number(pid))
    })
    // `thin` after `pool`: what keeps the other open goes first.
    for (const name of stale.sort().reverse()) {
      try {
        await binding.dmDevRemove(this.#control.fd, name, {})
      } catch (error) {
        if (!hasCode(error, 'EBUSY', 'ENXIO')) throw error
      }
    }
  }

  [Symbol.dispose](): void {
    this.#control.close()
  }
}

const nodeOf = ({ major, minor }: DeviceNumber): Device => ({
  kind: 'block',
  name: `dm-${String(minor)}`,
  major,
  minor,
})

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return false
    if (hasCode(error, 'EPERM')) return true
    throw error
  }
}

const PATIENCE = { times: 100, milliseconds: 20 } as const

/** At once, if nobody else looks at it just now (udev does, at each new device); else the kernel does when they end. */
async function remove(control: number, name: string): Promise<void> {
  for (let left: number = PATIENCE.times; ; left--) {
    try {
      await binding.dmDevRemove(control, name, { deferred: left === 0 })
      return
    } catch (error) {
      if (hasCode(error, 'ENXIO')) return
      if (!hasCode(error, 'EBUSY')) throw error
    }
    await wait(PATIENCE.milliseconds)
  }
}

async function openControl(): Promise<OwnedFd> {
  try {
    return await openDevice(CONTROL)
  } catch (error) {
    if (hasCode(error, 'ENODEV', 'ENXIO', 'ENOENT')) throw unsupported('device mapper', error)
    throw error
  }
}

async function requireThinPools(control: OwnedFd): Promise<void> {
  for (const type of ['thin-pool', 'thin']) {
    try {
      await binding.dmGetTargetVersion(control.fd, type)
    } catch (error) {
      // ENOTTY: before 5.4.
      if (hasCode(error, 'EINVAL', 'ENOTTY')) throw unsupported('thin pools of the device mapper', error)
      throw error
    }
  }
}

function unsupported(what: string, cause: unknown): OverlaidError {
  return new OverlaidError(
    'ERR_UNSUPPORTED_KERNEL',
    `devicemapper's layers are block devices in a thin pool, and this kernel has no ${what}`,
    { hint: `modprobe dm-thin-pool, where the kernel has it as a module; else: ${SAVE_THERE}`, cause },
  )
}

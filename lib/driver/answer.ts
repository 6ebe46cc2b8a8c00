/** What a driver answers when it is asked whether it can serve a data root. */
import { OverlaidError } from '../errors.ts'
import type { Driver } from './driver.ts'
import { type DriverOptions, openDriver } from './drivers.ts'
import { whyReadOnly } from './read-only.ts'

/** Whether a driver can serve a data root. */
export interface DriverAnswer {
  readonly name: string
  readonly usable: boolean
  /** What one pays for it, where another driver would ask less. */
  readonly cost?: string
  /** Why it is not usable. */
  readonly reason?: string
  /** What would make it usable: a command, or a setting. */
  readonly remedy?: string
  /** A code of `CODES`, or an errno's name. */
  readonly code?: string
  /** The system call that failed, where it was one, with its errno's name. */
  readonly syscall?: string
  readonly errno?: string
}

/** What sets a driver back behind overlay2. */
const COSTS: Readonly<Record<string, string>> = {
  vfs: 'each layer and each container is a full copy of all files below it, in time and in space; btrfs, and xfs with reflink, share the blocks',
  'fuse-overlayfs': 'a process of its own serves each mount, and every file access goes through it',
}

/** For what Docker goes on to the next driver. */
const UNSUPPORTED: readonly string[] = [
  'ERR_UNSUPPORTED_FS',
  'ERR_UNSUPPORTED_KERNEL',
  // fuse-overlayfs is one.
  'ERR_NO_PROGRAM',
  'ERR_DRIVER_MISMATCH',
]

/** An answer, with what stands behind it: the driver that works, or the error that refuses. */
export type Trial =
  | { readonly answer: DriverAnswer; readonly driver: Driver }
  | { readonly answer: DriverAnswer; readonly error: Error }

/** Tries a driver by its name. Leaves nothing behind. @throws what is no refusal but a fault of overlaid */
export async function tryDriver(name: string, root: string, options: DriverOptions): Promise<Trial> {
  try {
    const driver = await openDriver(name, root, options)
    await driver.verify()
    return { answer: { name, usable: true, ...costOf(name) }, driver }
  } catch (thrown) {
    const error = await explain(thrown, root)
    return { answer: { name, usable: false, ...factsOf(error) }, error }
  }
}

export function costOf(name: string): Pick<DriverAnswer, 'cost'> {
  const cost = COSTS[name]
  return cost === undefined ? {} : { cost }
}

/** Whether it says "not on this machine" or "not on this file system", rather than that something failed. */
export function isUnsupported({ code = '' }: DriverAnswer): boolean {
  return UNSUPPORTED.includes(code)
}

/** The errors of ours and of the system calls are answers; others are faults. */
async function explain(thrown: unknown, root: string): Promise<Error> {
  if (!(thrown instanceof Error) || !('code' in thrown)) throw thrown
  if (thrown.code === 'EROFS') return await whyReadOnly(root, thrown)
  if (thrown instanceof OverlaidError || 'syscall' in thrown) return thrown
  throw thrown
}

/** The fields of an answer that the error tells. */
export function factsOf(error: Error): Omit<DriverAnswer, 'name' | 'usable'> {
  const { code, hint } = error as { code?: string; hint?: string }
  const call = failedCall(error)
  return {
    reason: error.message,
    ...(hint !== undefined && { remedy: hint }),
    ...(code !== undefined && { code }),
    ...call,
  }
}

/** The system call at the bottom of the causes. */
function failedCall(error: unknown): Pick<DriverAnswer, 'syscall' | 'errno'> {
  if (!(error instanceof Error)) return {}
  const { syscall, code } = error as { syscall?: string; code?: string }
  if (syscall !== undefined && code !== undefined) return { syscall, errno: code }
  return failedCall(error.cause)
}

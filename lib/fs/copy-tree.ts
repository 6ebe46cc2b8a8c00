/** Copies of trees, to the last attribute. */
import { binding } from '../native/binding.ts'
import { Gate } from '../native/gate.ts'

export interface CopyOptions {
  /**
   * What to copy, each with all that is below it: paths relative to the source's root, whose parents are in the target
   * already. Without it everything, and the metadata of the root itself.
   */
  readonly only?: readonly Uint8Array[]
  readonly signal?: AbortSignal
}

/** The label that the machine's policy gives the copy, and a signature over the inode's number: a copy has its own. */
const LEFT_OUT = ['security.selinux', 'security.evm']

/** A copy takes as long as it takes, and the pool has four threads for the whole process. */
const COPIES_IN_FLIGHT = 2
const gate = new Gate(COPIES_IN_FLIGHT)

/**
 * Copies what is below the directory `fromFd` to below `toFd`, which has nothing by the same names: files with their
 * holes, and with shared blocks where the file system can; hard links as such, symlinks, devices and fifos, owners,
 * modes, attributes, access lists, times. Sockets are left out, links are not followed, other mounts are refused.
 *
 * On failure what was copied so far is there. @throws a SyscallError whose path is relative to the roots
 */
export async function copyTree(fromFd: number, toFd: number, options: CopyOptions = {}): Promise<void> {
  const { only, signal } = options
  const what = { leftOut: LEFT_OUT, ...(only !== undefined && { only }) }
  await gate.run(
    'begin',
    () => cancellable((mark) => binding.copyTree(fromFd, toFd, what, mark), signal),
    signal,
  )
}

type Cancellation = ReturnType<typeof binding.newCancellation>

/** @throws the signal's reason when that ended it */
async function cancellable(work: (mark: Cancellation) => Promise<void>, signal?: AbortSignal): Promise<void> {
  const mark = binding.newCancellation()
  const cancel = (): void => binding.cancel(mark)
  signal?.addEventListener('abort', cancel)
  try {
    await work(mark)
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}

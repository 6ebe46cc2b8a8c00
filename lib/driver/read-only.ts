/** What to do about a file system that cannot be written. */
import { SyscallError } from '../errors.ts'
import { describeBacking, deviceOf } from './backing.ts'
import { knownUnfit } from './file-systems.ts'

/** `cause` (EROFS) in words, with the mount that is to be changed. */
export async function whyReadOnly(root: string, cause: Error): Promise<SyscallError> {
  const { name, magic } = await describeBacking(root)
  const unfit = knownUnfit(Number(magic))
  const mountPoint = (await deviceOf(root))?.mountPoint ?? root
  const { errno = 0, syscall = '' } = cause as { errno?: number; syscall?: string }
  const facts = { code: 'EROFS', errno, syscall, path: root, cause }
  if (unfit?.isReadOnly === true) return new SyscallError(unfit.why, { ...facts, hint: unfit.remedy })
  return new SyscallError(`the ${name} at ${mountPoint} is mounted read-only`, {
    ...facts,
    hint: `mount -o remount,rw ${mountPoint}; or put the data root elsewhere`,
  })
}

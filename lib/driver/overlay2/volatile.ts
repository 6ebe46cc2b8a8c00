/**
 * What a volatile mount leaves in its work directory, and when it is safe to go on with the upper.
 *
 * A volatile overlay never syncs, so after a crash of the machine the upper may have lost anything. The kernel
 * therefore makes `work/work/incompat/volatile/dirty`, never removes it, and refuses every later mount (EINVAL)
 * until somebody who knows that the content is whole has removed it. As long as the machine has not been rebooted
 * it is: nothing was lost that the page cache had, however the process or the mount ended. So each volatile mount
 * notes the boot in `work/overlaid-boot-id`, which the kernel leaves alone.
 */
import { lstatSync } from 'node:fs'
import { readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { AT_FDCWD, binding, type Bytes } from '../../native/binding.ts'
import { bootID } from '../../native/boot-id.ts'
import { OwnedFd } from '../../native/fd.ts'
import { toBytes } from './options.ts'

/** Notes in `work` that this boot is about to mount it volatile. */
export async function noteVolatile(work: string): Promise<void> {
  await writeFile(noteOf(work), bootID(), { mode: 0o600 })
}

/**
 * Makes the upper of a volatile mount an ordinary one again: syncs its file system and removes the kernel's mark.
 * Does nothing where there is no mark. Nothing may have it mounted.
 * @throws ERR_VOLATILE_LOST when the machine was restarted since
 */
export async function settleVolatile(work: string): Promise<void> {
  const incompat = join(work, 'work', 'incompat')
  if (!hasVolatileMark(work)) return
  const noted = await readNote(work)
  if (noted !== bootID()) {
    throw new OverlaidError(
      'ERR_VOLATILE_LOST',
      'this layer was mounted volatile and the machine was restarted since: what was written may be incomplete',
      {
        path: incompat,
        hint: `discard the container; or, if its content is known to be whole, remove ${incompat}`,
      },
    )
  }
  using fd = new OwnedFd(await binding.openat(AT_FDCWD, work, 0, 0))
  await binding.syncfs(fd.fd)
  await rm(join(incompat, 'volatile', 'dirty'), { force: true })
  await rmdir(join(incompat, 'volatile'))
  await rmdir(incompat)
  await rm(noteOf(work), { force: true })
}

function noteOf(work: string): string {
  return join(work, 'overlaid-boot-id')
}

/** Whether the kernel's mark is in the work directory `work`. */
export function hasVolatileMark(work: Bytes): boolean {
  const below = '/work/incompat/volatile'
  const mark = typeof work === 'string' ? work + below : Buffer.concat([toBytes(work), Buffer.from(below)])
  try {
    return lstatSync(mark, { throwIfNoEntry: false }) !== undefined
  } catch (error) {
    if (hasCode(error, 'ENOTDIR')) return false
    throw error
  }
}

async function readNote(work: string): Promise<string | undefined> {
  try {
    return await readFile(noteOf(work), 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

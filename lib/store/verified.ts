/**
 * That the driver can work on this root was found out by mounting an overlay there and using it. The answer is kept
 * as long as nothing can change it: for this boot, for the mount that the driver's home is in (a file system that
 * was unmounted, changed and mounted again is another mount), and for the user namespace that asked.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import { hasCode } from '../errors.ts'
import { writeFileAtomic } from '../fs/atomic.ts'
import { AT_FDCWD, binding, type Stat } from '../native/binding.ts'
import { bootID } from '../native/boot-id.ts'
import type { StoreContext } from './context.ts'
import { MODES } from './paths.ts'

/** Raised when verify() looks at more than it did. */
const FORM = 1

/** Whether the driver was verified on this home, under conditions that still hold. */
export async function isVerified(store: StoreContext): Promise<boolean> {
  const noted = readNote(store.paths.verified)
  return noted !== undefined && noted === (await conditions(store))
}

/** Notes that the driver was verified just now. */
export async function noteVerified(store: StoreContext): Promise<void> {
  const found = await conditions(store)
  if (found === undefined) return
  await writeFileAtomic(store.paths.verified, found, { mode: MODES.privateFile, durability: 'none' })
}

function readNote(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Undefined where the kernel gives a mount's id to another one later (before 6.8): nothing can be kept there. */
async function conditions({ driver }: StoreContext): Promise<string | undefined> {
  const home = await look(driver.home)
  if (home?.mountIDUnique !== true) return undefined
  const { mountID, devMajor, devMinor, ino } = home
  return JSON.stringify({
    form: FORM,
    driver: driver.name,
    bootID: bootID(),
    userNamespace: readlinkSync('/proc/self/ns/user'),
    mountID: String(mountID),
    folder: `${String(devMajor)}:${String(devMinor)}:${String(ino)}`,
  })
}

async function look(home: string): Promise<Stat | undefined> {
  try {
    return await binding.statx(AT_FDCWD, home, 0)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

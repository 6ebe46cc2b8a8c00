/**
 * A claim: a small JSON file that says what a process needs, which the process keeps locked while it lives.
 *
 * The kernel drops the lock with the process, however it ends, so a claim whose lock can be had is a dead one's.
 * Claims are made, read for a decision and removed under a lock that their kind names (leases: the store's, holds:
 * the container's): that is why nobody meets one between its creation and its lock. Reading and writing them is
 * synchronous: a few µs each, where a turn of the thread pool costs more, and a mount has dozens of such steps.
 */
import {
  closeSync,
  constants,
  ftruncateSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { hasCode } from '../errors.ts'
import { OwnedFd } from '../native/fd.ts'
import { binding } from '../native/binding.ts'
import { MODES } from './paths.ts'

/**
 * Names no other process gives, and none twice: random bytes for each would be a tenth of a claim's cost. The kernel's,
 * since a short command has no other use for node:crypto, which takes milliseconds to load.
 */
let prefix: string | undefined
let count = 0

function newName(): string {
  prefix ??= readFileSync('/proc/sys/kernel/random/uuid', 'latin1').trim().replaceAll('-', '')
  return `${prefix}-${String(count++)}`
}

/** A claim of this process. */
export class Claim<T> {
  readonly path: string
  readonly #fd: OwnedFd

  private constructor(path: string, fd: OwnedFd) {
    this.path = path
    this.#fd = fd
  }

  /** Makes one in `folder`, under a name of its own. It shows whole or not at all. */
  static async make<T>(folder: string, content: T): Promise<Claim<T>> {
    const name = newName()
    const temp = join(folder, `.${name}`)
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL
    const claim = new Claim<T>(
      join(folder, `${name}.json`),
      new OwnedFd(openSync(temp, flags, MODES.privateFile)),
    )
    try {
      // Somebody who asks whether it is claimed holds it for an instant.
      while (!(await binding.ofdLock(claim.#fd.fd, 'write'))) await pause(1)
      claim.#write(content)
      renameSync(temp, claim.path)
    } catch (error) {
      removeFile(temp)
      claim.#fd.close()
      throw error
    }
    return claim
  }

  update(content: T): void {
    // Longer than before or not, a reader without the lock finds one JSON text: the rest is cut off afterwards.
    ftruncateSync(this.#fd.fd, this.#write(content))
  }

  /** Returns the bytes that the content takes. */
  #write(content: T): number {
    const bytes = Buffer.from(JSON.stringify(content))
    for (let at = 0; at < bytes.length;) at += writeSync(this.#fd.fd, bytes, at, bytes.length - at, at)
    return bytes.length
  }

  /** Lets go of the lock and leaves the file: what it says must now be true without a process. */
  leave(): void {
    this.#fd.close()
  }

  /** Removes it. Idempotent. */
  drop(): void {
    removeFile(this.path)
    this.#fd.close()
  }
}

/** A claim as someone else finds it. */
export interface FoundClaim<T> {
  readonly path: string
  /** Undefined when it cannot be read: its process died before it was whole. */
  readonly content: T | undefined
  /** Whether the process that made it lives and still holds it. */
  readonly alive: boolean
}

/** The claims in `folder`, but for the one at `except`; none when there is no such folder. */
export async function readClaims<T>(folder: string, except?: string): Promise<FoundClaim<T>[]> {
  const found: FoundClaim<T>[] = []
  for (const name of listSmallFolder(folder)) {
    const path = join(folder, name)
    if (path === except) continue
    const claim = await readClaim<T>(path)
    if (claim !== undefined) found.push(claim)
  }
  return found
}

async function readClaim<T>(path: string): Promise<FoundClaim<T> | undefined> {
  try {
    const alive = await isClaimed(path)
    const text = readFileSync(path, 'utf8')
    return { path, content: parse<T>(text), alive }
  } catch (error) {
    // Dropped since the folder was listed.
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/**
 * Whether somebody has the file locked; false when there is none. Asks with a read lock, so that two who ask at once
 * do not take each other for the owner.
 */
export async function isClaimed(path: string): Promise<boolean> {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
  try {
    return !(await binding.ofdLock(fd, 'read'))
  } finally {
    closeSync(fd)
  }
}

/** As {@link listFolder}, at once: for folders of a few names. */
export function listSmallFolder(folder: string): string[] {
  // An error costs more than a look, and most of these folders are missing as a rule.
  if (lstatSync(folder, { throwIfNoEntry: false }) === undefined) return []
  try {
    return readdirSync(folder).sort()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

function parse<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T
  } catch {
    // SyntaxError: cut off by its process's death.
    return undefined
  }
}

/** Names in `folder`, sorted; none when it does not exist. */
export async function listFolder(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

/** Unlinks; a file that is not there is fine. */
export function removeFile(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

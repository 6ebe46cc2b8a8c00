/**
 * Locks between processes, and between the parts of one process, on files of the store.
 *
 * They are OFD locks: they belong to an open file description and the kernel drops them with it, so a process
 * that dies holds nothing, and two opens in one process exclude each other as two processes do. F_OFD_SETLKW
 * would block a pool thread and know no AbortSignal: a lock is tried again and again instead, after pauses. Within
 * one process whoever asked first is served first, and only that one tries.
 */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { hasCode } from '../errors.ts'
import { binding } from '../native/binding.ts'
import { MODES } from './paths.ts'

/** Pauses between tries, in ms: a lock is held for renames and small files, a few ms. */
const FIRST_PAUSE = 1
const LONGEST_PAUSE = 16

/** The last in each lock file's queue, by path: one root may be opened by several stores of this process. */
const queues = new Map<string, Promise<void>>()

/** A lock that this process has. */
interface Lock {
  readonly fd: number
  users: number
  /** See {@link keepLocked}. */
  kept?: Promise<void>
}

/** The locks that this process has, by path. */
const locks = new Map<string, Lock>()

/**
 * Runs `work` holding the lock file at `path`, whose folder must exist.
 * @param longestPause between two tries, in ms: for a lock that is held for longer
 * @throws the signal's reason
 */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  signal?: AbortSignal,
  longestPause: number = LONGEST_PAUSE,
): Promise<T> {
  const take = async () => {
    const kept = locks.get(path)?.kept
    if (kept !== undefined) await unlessAborted(kept, signal)
    return holding(path, await acquire(path, signal, longestPause), work)
  }
  return inTurn(path, take, signal)
}

/** As {@link withLock}, but beside what this process keeps the lock for. */
export async function withSharedLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  return inTurn(path, async () => {
    const lock = sharedLock(path) ?? (await acquire(path, undefined, LONGEST_PAUSE))
    return holding(path, lock, work)
  })
}

/** Keeps the lock at `path`, which the caller holds, until `ended` is settled: that may be after the caller's work. */
export function keepLocked(path: string, ended: Promise<void>): void {
  const lock = locks.get(path)
  if (lock === undefined) throw new Error(`${path} is not locked`)
  lock.users++
  const free = () => release(path, lock)
  lock.kept = ended.then(free, free)
}

async function holding<T>(path: string, lock: Lock, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } finally {
    release(path, lock)
  }
}

function sharedLock(path: string): Lock | undefined {
  const lock = locks.get(path)
  if (lock === undefined || !isStillAt(lock.fd, path)) return undefined
  lock.users++
  return lock
}

function release(path: string, lock: Lock): void {
  if (--lock.users > 0) return
  if (locks.get(path) === lock) locks.delete(path)
  // Unlocks, at the latest when a child that is just being forked has exec'ed: till then it has the description.
  closeSync(lock.fd)
}

/** As {@link withLock}, but gives up at once: undefined when someone has the lock. */
export async function tryWithLock<T>(
  path: string,
  work: () => T | Promise<T>,
): Promise<{ value: T } | undefined> {
  if (queues.has(path)) return undefined
  return inTurn(path, async () => {
    const lock = await tryAcquire(path)
    return lock === undefined ? undefined : { value: await holding(path, lock, work) }
  })
}

/**
 * Runs `work` while nobody holds the lock file for writing, others who read beside it. Makes no file, and runs nothing
 * where there is none or it may not be opened: undefined then.
 */
export async function withReadLock<T>(
  path: string,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<{ value: T } | undefined> {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EACCES')) return undefined
    throw error
  }
  try {
    for (let wait = FIRST_PAUSE; !(await binding.ofdLock(fd, 'read')); wait = longer(wait, LONGEST_PAUSE)) {
      signal?.throwIfAborted()
      await pause(wait)
    }
    return { value: await work() }
  } finally {
    await binding.ofdLock(fd, 'unlock').finally(() => closeSync(fd))
  }
}

/** Runs `work` after this process's earlier users of `path`, and before its later ones. */
async function inTurn<T>(path: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const leave = await enter(path, signal)
  try {
    return await work()
  } finally {
    leave()
  }
}

/** Waits for this process's earlier users of `path`; the function that is returned lets the next one in. */
async function enter(path: string, signal?: AbortSignal): Promise<() => void> {
  const before = queues.get(path) ?? Promise.resolve()
  let done!: () => void
  const mine = new Promise<void>((resolve) => (done = resolve))
  const tail = before.then(() => mine)
  queues.set(path, tail)
  const leave = () => {
    if (queues.get(path) === tail) queues.delete(path)
    done()
  }
  try {
    await unlessAborted(before, signal)
  } catch (error) {
    // Not out of turn: who comes next waits for those before us as well.
    void before.then(leave)
    throw error
  }
  return leave
}

async function unlessAborted(promise: Promise<void>, signal?: AbortSignal): Promise<void> {
  if (signal === undefined) return promise
  signal.throwIfAborted()
  let abort!: () => void
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
  })
  try {
    await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

async function acquire(path: string, signal: AbortSignal | undefined, longest: number): Promise<Lock> {
  for (let wait = FIRST_PAUSE; ; wait = longer(wait, longest)) {
    signal?.throwIfAborted()
    const lock = await tryAcquire(path)
    if (lock !== undefined) return lock
    await pause(wait)
  }
}

function longer(wait: number, longest: number): number {
  return Math.min(2 * wait, longest)
}

async function tryAcquire(path: string): Promise<Lock | undefined> {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, MODES.privateFile)
  let taken = false
  try {
    taken = (await binding.ofdLock(fd, 'write')) && isStillAt(fd, path)
  } finally {
    if (!taken) closeSync(fd)
  }
  if (!taken) return undefined
  const lock = { fd, users: 1 }
  locks.set(path, lock)
  return lock
}

/** False when the file was removed between our open and our lock: the next one to come makes another file. */
function isStillAt(fd: number, path: string): boolean {
  try {
    return statSync(path).ino === fstatSync(fd).ino
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

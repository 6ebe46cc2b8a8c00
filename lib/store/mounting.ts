/**
 * Making mounts. Whatever the place, a mount begins detached: made new by the driver, or cloned from one that is
 * there already, since one upper directory takes one overlay at a time. Then its hold is written, then it is put in
 * its place.
 */
import { mkdirSync, readlinkSync, realpathSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../errors.ts'
import { binding } from '../native/binding.ts'
import { OwnedFd } from '../native/fd.ts'
import { attach, attachAtHome, mountIDAt, openMountNamespace, unmount } from '../native/mount.ts'
import { Claim } from './claim.ts'
import type { StoreContext } from './context.ts'
import { here, type Hold, type HoldContent, type HoldKind, readHolds } from './hold.ts'
import { dropHoldsFolder, endHold, type EndOptions, reapHolds } from './hold-end.ts'
import { keepLocked, withLock } from './lock.ts'
import { findBase, openRoot } from './mount-base.ts'
import { Mount } from './mount.ts'
import { mountOptions, type MountRequest } from './mount-request.ts'
import { holdsDir, MODES } from './paths.ts'

/** What is mounted: a container, or an image's layers. */
export interface Subject {
  /** Names the holds' folder and the lock. */
  readonly name: string
  /** For messages: `container web`. */
  readonly label: string
  /** The folder in the driver's home. */
  readonly driverID: string
  /** An image's: nothing writes to it. */
  readonly isReadOnly: boolean
  /** @throws when it is gone */
  expect(): Promise<void>
}

interface Place {
  readonly kind: HoldKind
  readonly path?: string
  readonly namespace: string
}

/** Runs `work` holding the subject's lock, on a store that may be written to. */
export async function withSubject<T>(
  store: StoreContext,
  name: string,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  await store.prepare()
  return withLock(join(store.paths.locks, name), work, signal)
}

/** Where the driver has the merged view of `driverID`. */
export function mergedPath(store: StoreContext, driverID: string): string {
  return store.driver.mergedPath(driverID)
}

/**
 * Mounts.
 * @throws ERR_IN_USE when it is mounted where this process cannot reach it, or with other options; ERR_INVALID_ARGUMENT
 */
export async function mountSubject(
  store: StoreContext,
  subject: Subject,
  request: MountRequest,
): Promise<Mount> {
  const place = placeOf(store, subject, request)
  await store.refuseBesideDockerd()
  const make = async () => {
    await subject.expect()
    const live = await reapHolds(store.paths, subject.name)
    const { label, driverID, isReadOnly } = subject
    const query = { label, merged: mergedPath(store, driverID), share: place.kind === 'merged', isReadOnly }
    const base = await findBase(store, live, query, request)
    const isShared = query.share && base?.path === query.merged
    const root = isShared ? undefined : await openRoot(store, driverID, base, request)
    try {
      const mountID = root === undefined ? (base?.mountID ?? '') : String(root.mountID)
      const content = holdContent(subject, place, request, mountID, isShared && base?.borrowed === true)
      return await settle(store, subject, content, root?.fd, request.pid)
    } finally {
      await root?.fd.closeAsync()
    }
  }
  return withSubject(store, subject.name, make, request.signal)
}

function placeOf(store: StoreContext, { driverID }: Subject, request: MountRequest): Place {
  const { target, detached = false, pid, persist = false } = request
  const bad = (message: string) => new OverlaidError('ERR_INVALID_ARGUMENT', message)
  if (detached && target !== undefined) throw bad('a detached mount has no target')
  if (detached && persist) throw bad('a detached mount cannot outlive its process')
  if (pid !== undefined) {
    if (target === undefined) throw bad('a mount in the namespace of a process needs a target there')
    if (!target.startsWith('/')) throw bad('a target in the namespace of a process is an absolute path')
    return { kind: 'namespace', path: target, namespace: namespaceOf(pid) }
  }
  const { namespace } = here()
  if (detached) return { kind: 'detached', namespace }
  if (target === undefined) return { kind: 'merged', path: mergedPath(store, driverID), namespace }
  return { kind: 'target', path: realpathSync(target), namespace }
}

function holdContent(
  { driverID }: Subject,
  { kind, path, namespace }: Place,
  request: MountRequest,
  mountID: string,
  borrowed: boolean,
): HoldContent {
  const { bootID } = here()
  const options = mountOptions(request)
  const persist = request.persist ?? false
  const where = path === undefined ? {} : { path }
  return {
    pid: process.pid,
    bootID,
    kind,
    persist,
    namespace,
    ...where,
    mountID,
    driverID,
    options,
    borrowed,
  }
}

/** Writes the hold, then puts the mount in its place; undoes both when that fails. */
async function settle(
  store: StoreContext,
  subject: Subject,
  content: HoldContent,
  root: OwnedFd | undefined,
  pid: number | undefined,
): Promise<Mount> {
  const claim = await makeClaim(store, subject, content)
  try {
    if (root !== undefined) await putInPlace(content, root, pid)
  } catch (error) {
    claim.drop()
    throw error
  }
  if (content.persist) claim.leave()
  const fd = content.kind === 'detached' && root !== undefined ? new OwnedFd(root.release()) : undefined
  const hold = { path: claim.path, content, alive: true, live: true }
  const release = async () => {
    claim.leave()
    store.mounts.delete(claim.path)
    await fd?.closeAsync()
  }
  const undo = (options: EndOptions) => undoHold(store, subject.name, hold, release, options)
  const where = {
    ...(content.path !== undefined && { path: content.path }),
    ...(fd !== undefined && { fd: fd.fd }),
  }
  const mount = new Mount({ ...where, persist: content.persist }, undo, release)
  store.mounts.set(claim.path, mount)
  return mount
}

/**
 * A container's lock keeps rm away. What removes layers, rmi and gc, decides under the store lock: an image's claim is
 * made under it, so that they see the claim, or we that the layer is gone.
 */
async function makeClaim(
  store: StoreContext,
  subject: Subject,
  content: HoldContent,
): Promise<Claim<HoldContent>> {
  const folder = holdsDir(store.paths, subject.name)
  const make = async () => {
    mkdirSync(folder, { recursive: true, mode: MODES.privateDir })
    return Claim.make(folder, content)
  }
  if (!subject.isReadOnly) return make()
  return store.locked(async () => {
    await subject.expect()
    return make()
  })
}

/** Undoes one hold of this process. */
async function undoHold(
  store: StoreContext,
  subject: string,
  hold: Hold,
  release: () => Promise<void>,
  options: EndOptions,
): Promise<void> {
  const lock = join(store.paths.locks, subject)
  const { driverID, mountID } = hold.content
  const beginUnmount = async () => {
    const ending = await store.driver.beginUnmount?.(driverID, BigInt(mountID))
    if (ending !== undefined) keepLocked(lock, ending.ended)
    return ending !== undefined
  }
  await withLock(lock, async () => {
    await endHold(store.paths, subject, hold, { ...options, beginUnmount })
    await release()
    await dropHoldsFolder(store.paths, subject)
  })
}

async function putInPlace(content: HoldContent, root: OwnedFd, pid: number | undefined): Promise<void> {
  const { kind, path = '' } = content
  if (kind === 'detached') return
  if (kind === 'namespace') return attachInto(root, pid ?? 0, content)
  if (kind === 'target') return attach(root.fd, path)
  await attachAtHome(root, path)
}

/** Moves the mount into another process's mount namespace, which must still be the one that the hold names. */
async function attachInto(root: OwnedFd, pid: number, { path = '', namespace }: HoldContent): Promise<void> {
  using there = await openMountNamespace(pid)
  if (readlinkSync(`/proc/self/fd/${String(there.fd)}`) !== namespace) throw noProcess(pid)
  await binding.moveMountInto(there.fd, root.fd, path)
}

function namespaceOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${String(pid)}/ns/mnt`)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ESRCH')) throw noProcess(pid)
    throw error
  }
}

function noProcess(pid: number): OverlaidError {
  return new OverlaidError('ERR_INVALID_ARGUMENT', `there is no process ${String(pid)}`)
}

/**
 * Ends persistent holds and those of dead processes; with `force` everyone's.
 * @throws ERR_MOUNT_NOT_FOUND when there is none, ERR_IN_USE when living processes have all there are
 */
export async function unmountSubject(
  store: StoreContext,
  subject: Pick<Subject, 'name' | 'label' | 'driverID'>,
  options: EndOptions & { readonly path?: string },
): Promise<void> {
  await withSubject(store, subject.name, async () => {
    const all = await readHolds(store.paths, subject.name)
    const asked = all.filter(({ content }) => options.path === undefined || content.path === options.path)
    const ending = asked.filter(({ content, live }) => content.persist || !live || options.force === true)
    if (asked.length === 0) return unmountForeign(store, subject, options)
    if (ending.length === 0) throw heldByOthers(subject.label, asked)
    for (const hold of ending) await endOne(store, subject.name, hold, options)
    await dropHoldsFolder(store.paths, subject.name)
  })
}

async function endOne(store: StoreContext, subject: string, hold: Hold, options: EndOptions): Promise<void> {
  const isOurs = store.mounts.has(hold.path)
  if (hold.content.kind === 'detached' && hold.live && !isOurs) throw heldByOthers(subject, [hold])
  await endHold(store.paths, subject, hold, options)
  await store.mounts.get(hold.path)?.forget()
}

/** A mount at the driver's place that none of ours made: a dockerd that died left it. Only force undoes it. */
async function unmountForeign(
  store: StoreContext,
  { label, driverID }: Pick<Subject, 'label' | 'driverID'>,
  options: EndOptions & { readonly path?: string },
): Promise<void> {
  const merged = mergedPath(store, driverID)
  const isThere = (options.path ?? merged) === merged && (await mountIDAt(merged)) !== undefined
  if (!isThere || options.force !== true) {
    const hint = isThere
      ? { hint: `something mounted it at ${merged} that is not overlaid: force unmounts it` }
      : {}
    throw new OverlaidError('ERR_MOUNT_NOT_FOUND', `${label} is not mounted by overlaid`, hint)
  }
  await unmount(merged, { detach: true })
  rmdirSync(merged)
}

function heldByOthers(label: string, holds: readonly Hold[]): OverlaidError {
  const pids = [...new Set(holds.map(({ content }) => String(content.pid)))].join(', ')
  return new OverlaidError('ERR_IN_USE', `${label} is held by process ${pids}`, {
    hint: 'that process unmounts it, or its end does; force unmounts it though it is in use',
  })
}

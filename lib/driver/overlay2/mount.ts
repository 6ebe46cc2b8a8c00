/**
 * The ladder: one overlay mount, by the best way the kernel has, as a detached mount.
 *
 *     fds        6.13  fsopen, a descriptor for each layer: no escaping, no path race, 500 lowers
 *     lowerdir+  6.8   fsopen, a string of at most 255 bytes for each layer: 500 lowers
 *     mount2           mount(2) with one string of at most 4095 bytes and names relative to the driver's home, on a
 *                      thread of its own in a private mount namespace (native/mount_detached.cc): 128 lowers
 *
 * Layers whose ids are mapped are clones, which overlayfs takes by descriptor from 6.15 on. Before, they get places in a
 * private mount namespace and mount(2) their names.
 *
 * No rung falls back to the next: which one a kernel has is asked beforehand, and what fails then is an error. Where a
 * kernel has the first, the second is taken whenever the names fit: it is the faster one (native/README.md).
 *
 * After each mount what was asked is compared with what is there. A result of 0 is not enough: when the kernel cannot
 * make its directory in work/ (an upper with an id mapping that lacks the caller, a read-only or immutable work),
 * it mounts read-only and says so in dmesg alone; and mount(2) cuts a long string and mounts what is left.
 */
import { constants } from 'node:fs'
import { OverlaidError } from '../../errors.ts'
import { parseMountInfo } from '../../fs/mountinfo.ts'
import { AT_FDCWD, binding, type Bytes, type FsParameter, type NewMount } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { MS, O_PATH, ST } from '../../native/flags.ts'
import { mountGate } from '../../native/gate.ts'
import { cloneMapped, cloneMount, type Detached } from '../../native/mount.ts'
import { bestRung, type Rung } from '../../native/rung.ts'
import { OVERLAYFS_MAGIC } from '../../native/statfs.ts'
import type { MountOptions } from '../driver.ts'
import { mountAttributes, mountFlags } from '../mount-attributes.ts'
import { isMapped, type LowerMap, mappingOf, rungForMapped, withPlaces } from './mapping.ts'
import {
  escapeValue,
  type LayerNames,
  MAX_LOWERS,
  MAX_LOWERS_MOUNT2,
  MAX_VALUE_BYTES,
  type MountOption,
  optionString,
  overlayOptions,
  toBytes,
} from './options.ts'
import { countLowers } from './shown-options.ts'
import { hasVolatileMark, noteVolatile, settleVolatile } from './volatile.ts'

/** So many lowers, given by names, take no longer than half a millisecond: see {@link mountBy}. */
const MAX_QUICK = 64

/** Which directories to mount over each other, and how. */
export interface OverlayRequest {
  /** The directory that relative names start from: the driver's home. Absolute. */
  readonly home: string
  /** Top first; `l/<link>` or anything else that names a directory from `home`. */
  readonly lowers: readonly Bytes[]
  /** The writable layer; with the option `readOnly` the topmost lower, so that nothing is written anywhere. */
  readonly upper?: Bytes
  /** On the same mount as `upper`; needed with an upper and a lower. */
  readonly work?: Bytes
  readonly options?: MountOptions
  /** Maps the ids of the lowers (5.19), or of the first `count`; the upper has its own. */
  readonly idMap?: LowerMap
  /** Forces a rung; the default is the best that the kernel has. */
  readonly via?: Rung
}

export interface OverlayMount extends Detached {
  /** How it was made; `clone` for a single layer, which overlayfs does not take. */
  readonly rung: Rung | 'clone'
}

/** A request with everything decided. */
interface Plan {
  readonly request: OverlayRequest
  readonly layers: LayerNames
  /** See {@link absoluteNames}. */
  readonly names: LayerNames | undefined
  readonly options: MountOptions
  readonly parameters: readonly MountOption[]
}

/**
 * Mounts. The caller owns the descriptor: attach it somewhere (lib/native/mount.ts), read through it, close it.
 *
 * @throws ERR_CHAIN_TOO_DEEP before the kernel is asked; ERR_INVALID_ARGUMENT for options that exclude each other;
 *   ERR_MOUNT_MISMATCH when the kernel mounted something else (undone); ERR_VOLATILE_LOST; SyscallError
 */
export async function mountOverlay(request: OverlayRequest): Promise<OverlayMount> {
  const options = request.options ?? {}
  const layers = nameLayers(request)
  const hasUpper = layers.upper !== undefined
  const parameters = overlayOptions(options, hasUpper)
  const names = absoluteNames(request.home, layers)
  const rung = await rungFor(request, layers, names !== undefined)
  refuseDepth(layers.lowers.length, rung)
  // Without an upper an overlay is read-only whether asked or not.
  const plan: Plan = { request, layers, names, options: { ...options, readOnly: !hasUpper }, parameters }
  if (layers.work !== undefined) await prepareWork(absolute(request.home, layers.work), options)
  if (layers.lowers.length + (hasUpper ? 1 : 0) === 1) return await mountSingle(plan, rung)
  return mountBy(plan, rung)
}

/**
 * A name takes one system call where a descriptor takes three (open, fsconfig, close), and the kernel walks the same
 * path either way: so names, where all of them fit. native/README.md has the numbers.
 */
async function rungFor({ via, home }: OverlayRequest, layers: LayerNames, fit: boolean): Promise<Rung> {
  if (layers.mapping !== undefined) return rungForMapped(home, layers.mapping, via)
  if (via !== undefined) return via
  const best = await bestRung()
  return best === 'fds' && fit ? 'lowerdir+' : best
}

/** The layers by absolute names, as fsconfig takes them (`lowerdir+` is not escaped); undefined unless all fit in a value. */
function absoluteNames(home: string, { lowers, upper, work }: LayerNames): LayerNames | undefined {
  const above = (name: Bytes): Bytes => escapeValue(absolute(home, name))
  const names = {
    lowers: lowers.map((name) => absolute(home, name)),
    ...(upper !== undefined && { upper: above(upper) }),
    ...(work !== undefined && { work: above(work) }),
  }
  const all = [...names.lowers, names.upper ?? '', names.work ?? '']
  return all.every(fits) ? names : undefined
}

function fits(value: Bytes): boolean {
  return Buffer.byteLength(value) <= MAX_VALUE_BYTES
}

function nameLayers({ lowers, upper, work, options, idMap }: OverlayRequest): LayerNames {
  if (upper === undefined || options?.readOnly === true) {
    const all = upper === undefined ? lowers : [upper, ...lowers]
    if (all.length > 0) return { lowers: all, ...mappingOf(idMap, upper === undefined ? 0 : 1, all.length) }
  } else if (lowers.length === 0) {
    return { lowers, upper }
  } else if (work !== undefined) {
    return { lowers, upper, work, ...mappingOf(idMap, 0, lowers.length) }
  }
  throw new OverlaidError(
    'ERR_INVALID_ARGUMENT',
    'an overlay needs a layer, and above a lower a work directory',
  )
}

function refuseDepth(lowers: number, rung: Rung): void {
  const limit = rung === 'mount2' ? MAX_LOWERS_MOUNT2 : MAX_LOWERS
  if (lowers <= limit) return
  throw new OverlaidError(
    'ERR_CHAIN_TOO_DEEP',
    `${String(lowers)} layers, and overlayfs stacks ${String(limit)} here`,
    {
      hint:
        rung === 'mount2'
          ? 'Linux 6.8 and later stack 500; fewer, larger layers work everywhere'
          : 'build the image with fewer, larger layers',
    },
  )
}

/** Settles what an earlier volatile mount left, and notes that this is one. */
async function prepareWork(work: Bytes, options: MountOptions): Promise<void> {
  if (options.volatile !== true && !hasVolatileMark(work)) return
  // Its name may be of bytes that are no text.
  using fd = new OwnedFd(await binding.openat(AT_FDCWD, work, O_PATH | constants.O_DIRECTORY, 0))
  const path = `/proc/self/fd/${String(fd.fd)}`
  await settleVolatile(path)
  if (options.volatile === true) await noteVolatile(path)
}

/** In the calling thread where that is done sooner than a thread of the pool is woken, and nobody else mounts. */
async function mountBy(plan: Plan, rung: Rung): Promise<OverlayMount> {
  if (rung === 'mount2') return mountByString(plan)
  const parameters = rung === 'fds' ? byDescriptor(plan) : byName(plan)
  const attributes = mountAttributes(plan.options)
  const { home } = plan.request
  const { signal } = plan.options
  signal?.throwIfAborted()
  const isQuick = rung === 'lowerdir+' && plan.layers.lowers.length <= MAX_QUICK
  const now = () => binding.fsmountConfiguredNow('overlay', home, parameters, attributes)
  const call = () => binding.fsmountConfigured('overlay', home, parameters, attributes)
  const mount = (isQuick ? mountGate.now(now) : undefined) ?? mountGate.run('begin', call, signal)
  return verified(await mount, rung, plan, undefined)
}

/** `lowerdir+` comes before upperdir: the kernel's own order of preference has no say, only ours for reading. */
function byDescriptor({ layers, parameters }: Plan): FsParameter[] {
  const { mapping } = layers
  const directory = (key: string, path: Bytes): FsParameter => ({ key, path })
  const lower = (path: Bytes, index: number): FsParameter => {
    const key = 'lowerdir+'
    return isMapped(mapping, index) ? { key, path, usernsFd: mapping.usernsFd } : { key, path }
  }
  return [
    ...parameters.map(toParameter),
    ...layers.lowers.map(lower),
    ...(layers.upper === undefined ? [] : [directory('upperdir', layers.upper)]),
    ...(layers.work === undefined ? [] : [directory('workdir', layers.work)]),
  ]
}

/** Absolute names where they fit in a value, so that the mount table reads well; else by way of a descriptor. */
function byName({ request: { home }, layers, names, parameters }: Plan): FsParameter[] {
  const directory = (key: string, path: Bytes, value: Bytes): FsParameter =>
    fits(value) ? { key, value } : { key, path, byName: true }
  const above = (key: string, path: Bytes, name: Bytes | undefined): FsParameter =>
    directory(key, path, name ?? escapeValue(absolute(home, path)))
  const { lowers, upper, work } = layers
  return [
    ...parameters.map(toParameter),
    ...(names === undefined
      ? lowers.map((path) => directory('lowerdir+', path, absolute(home, path)))
      : [{ key: 'lowerdir+', values: joinEnded(names.lowers) }]),
    ...(upper === undefined ? [] : [above('upperdir', upper, names?.upper)]),
    ...(work === undefined ? [] : [above('workdir', work, names?.work)]),
  ]
}

/** The names, a NUL after each. */
function joinEnded(names: readonly Bytes[]): Bytes {
  const texts = names.filter((name) => typeof name === 'string')
  if (texts.length === names.length) return texts.map((text) => `${text}\0`).join('')
  return Buffer.concat(names.flatMap((name) => [toBytes(name), Buffer.of(0)]))
}

function toParameter([key, value]: MountOption): FsParameter {
  return value === undefined ? { key } : { key, value }
}

function absolute(home: string, path: Bytes): Bytes {
  if (typeof path === 'string') return path.startsWith('/') ? path : `${home}/${path}`
  return path[0] === 0x2f ? path : Buffer.concat([Buffer.from(`${home}/`), path])
}

async function mountByString(plan: Plan): Promise<OverlayMount> {
  const { request, layers, options, parameters } = plan
  const { home } = request
  const { names, mapped } = withPlaces(layers)
  const data = optionString(names, parameters)
  const flags = mountFlags(options)
  const call = () => binding.mountDetached(home, 'overlay', home, 'overlay', flags, data, mapped)
  const mount = await mountGate.run('begin', call, options.signal)
  return verified(mount, 'mount2', plan, mount.mountinfo)
}

/** A single layer, which overlayfs does not take: the folder itself is the merged view, writable if it is the upper. */
async function mountSingle(plan: Plan, rung: Rung): Promise<OverlayMount> {
  const { request, layers, options } = plan
  if (options.context !== undefined) {
    const words = 'a single layer is shown as it is, with its own labels: it takes no SELinux context'
    throw new OverlaidError('ERR_INVALID_ARGUMENT', words)
  }
  const folder = absolute(request.home, layers.upper ?? layers.lowers[0] ?? '')
  if (layers.mapping !== undefined) {
    const { usernsFd } = layers.mapping
    return { ...(await cloneMapped(folder, usernsFd, mountAttributes(options))), rung: 'clone' }
  }
  if (rung !== 'mount2') return { ...(await cloneMount(folder, mountAttributes(options))), rung: 'clone' }
  // mount_setattr is of 5.12; a kernel without the better rungs may be older.
  const flags = MS.MS_BIND | mountFlags(options)
  const { fd, mountID } = await binding.mountDetached(request.home, folder, request.home, '', flags, '')
  return { fd: new OwnedFd(fd), mountID, rung: 'clone' }
}

/** Gives a mount on when it is what `plan` asks for; else closes it, which unmounts it, and says what is wrong. */
async function verified(
  mount: NewMount,
  rung: Rung,
  plan: Plan,
  mountinfo: Buffer | undefined,
): Promise<OverlayMount> {
  const { type, flags, mountID } = mount
  const fd = new OwnedFd(mount.fd)
  try {
    if (type !== OVERLAYFS_MAGIC) throw mismatch('it is no overlay')
    const readOnly = (flags & ST.ST_RDONLY) !== 0
    if (readOnly && plan.options.readOnly !== true) {
      throw mismatch(
        'it is read-only, though it has an upper',
        'see dmesg: the kernel could not use the work directory',
      )
    }
    if (!readOnly && plan.options.readOnly === true) throw mismatch('it is writable')
    if (mountinfo !== undefined) verifyLayers(plan.layers, mountinfo)
    return { fd, mountID, rung }
  } catch (error) {
    await fd.closeAsync()
    throw error
  }
}

/** mount(2) alone can lose layers on the way, so their number and the upper are read back. */
function verifyLayers(layers: LayerNames, mountinfo: Buffer): void {
  const [mount] = parseMountInfo(mountinfo)
  const shown = mount?.superOptions ?? ''
  const count = countLowers(shown)
  if (count !== layers.lowers.length) {
    throw mismatch(`it has ${String(count)} of ${String(layers.lowers.length)} lowers`)
  }
  const hasUpper = /(^|,)upperdir=/.test(shown)
  if (hasUpper !== (layers.upper !== undefined))
    throw mismatch(hasUpper ? 'it has an upper' : 'it has no upper')
}

function mismatch(what: string, hint?: string): OverlaidError {
  const message = `the kernel mounted something else than was asked: ${what}`
  return new OverlaidError('ERR_MOUNT_MISMATCH', message, hint === undefined ? {} : { hint })
}

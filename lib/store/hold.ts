/**
 * Holds: who has a container, or an image's top layer, mounted. They are what counts a mount's users across
 * processes: the last one unmounts, a dead process's are undone by whoever comes next, and two overlays on one
 * upper directory, which the kernel allows with index=off and which ruins it, are kept apart.
 *
 * Each is a claim (claim.ts) in `overlaid/holds/<subject>/`. It names the mount by its id and is written before
 * that mount, detached until then, gets a place in a mount table: no mount of ours is ever without a hold. Made, read
 * for a decision and removed under the subject's lock.
 */
import { readlinkSync } from 'node:fs'
import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { MountOptions } from '../driver/driver.ts'
import { hasCode } from '../errors.ts'
import { bootID } from '../native/boot-id.ts'
import { mountIDAt } from '../native/mount.ts'
import { type ChainID, hexOf, isDigest } from '../oci/digest.ts'
import { type FoundClaim, listFolder, readClaims } from './claim.ts'
import { holdsDir, type StorePaths } from './paths.ts'

/**
 * `merged`: at the driver's place, shared by all its holders. `target`: at a path of the caller's. `detached`: in no
 * mount table. `namespace`: at a path in another process's mount namespace.
 */
export type HoldKind = 'merged' | 'target' | 'detached' | 'namespace'

export interface HoldContent {
  /** The process that made it, for messages; its life is told by the claim's lock. */
  readonly pid: number
  /** Mounts do not outlive a boot. */
  readonly bootID: string
  readonly kind: HoldKind
  /** Without a process: lives as long as the mount is there. */
  readonly persist: boolean
  /** The mount namespace that the mount is in, as `mnt:[4026531841]`. */
  readonly namespace: string
  /** Where, as seen in that namespace; absent of a detached mount. */
  readonly path?: string
  /** statx's id of the mount. */
  readonly mountID: string
  /** The folder in the driver's home. */
  readonly driverID: string
  readonly options: MountOptions
  /** The mount was there before, made by someone else (a dockerd that died): never unmounted by us. */
  readonly borrowed: boolean
}

export interface Hold extends FoundClaim<HoldContent> {
  readonly content: HoldContent
  readonly live: boolean
}

/** Where this process is: the same for its whole life. */
export interface Here {
  readonly bootID: string
  readonly namespace: string
}

let known: Here | undefined

export function here(): Here {
  known ??= {
    bootID: bootID(),
    namespace: readlinkSync('/proc/self/ns/mnt'),
  }
  return known
}

/** The name of an image mount's holds: its top layer's, so that images with the same layers share it. */
export function imageSubject(top: ChainID): string {
  return `ro-${hexOf(top)}`
}

/** The layer that a subject's holds keep, when they are an image's. */
export function layerOfSubject(subject: string): ChainID | undefined {
  const id = `sha256:${subject.slice('ro-'.length)}`
  return subject.startsWith('ro-') && isDigest(id) ? (id as ChainID) : undefined
}

/** Names of everything that has holds, or had. */
export function listSubjects(paths: StorePaths): Promise<string[]> {
  return listFolder(paths.holds)
}

/**
 * The holds on a subject, but for the one at `except`. A claim without readable content is left out: its process
 * died before anything was mounted, and gc removes the file.
 */
export async function readHolds(paths: StorePaths, subject: string, except?: string): Promise<Hold[]> {
  const claims = await readClaims<HoldContent>(holdsDir(paths, subject), except)
  if (claims.length === 0) return []
  const place = here()
  const holds: Hold[] = []
  for (const { path, content, alive } of claims) {
    if (content === undefined) continue
    holds.push({ path, content, alive, live: await isLive(content, alive, place) })
  }
  return holds
}

/** Top layers of images that are mounted: also by a process that died, since others may be in its mount. */
export async function liveImageHolds(paths: StorePaths): Promise<ChainID[]> {
  const mounted: ChainID[] = []
  for (const subject of await listSubjects(paths)) {
    const layer = layerOfSubject(subject)
    if (layer === undefined) continue
    for (const { live, content } of await readHolds(paths, subject)) {
      if (live || (await isMounted(content))) mounted.push(layer)
    }
  }
  return mounted
}

async function isLive(content: HoldContent, alive: boolean, place: Here): Promise<boolean> {
  if (content.bootID !== place.bootID) return false
  // Whoever is in that namespace has the mount, though the one who put it there is gone.
  if (content.kind === 'namespace') return (await memberOf(content.namespace)) !== undefined
  if (alive) return true
  return content.persist && (await isMounted(content, place))
}

/** Whether the mount that a hold is about is (still) there. */
export async function isMounted(content: HoldContent, place: Here = here()): Promise<boolean> {
  if (content.bootID !== place.bootID) return false
  const path = await reach(content, place)
  return path !== undefined && String(await mountIDAt(path)) === content.mountID
}

/** The path of a hold's mount from here, through a process of its namespace when that is another one. */
export async function reach(content: HoldContent, place: Here): Promise<string | undefined> {
  if (content.path === undefined || content.namespace === place.namespace) return content.path
  const pid = await memberOf(content.namespace)
  return pid === undefined ? undefined : join(`/proc/${String(pid)}/root`, content.path)
}

/** A process in a mount namespace; undefined when there is none, and the namespace's mounts are gone. */
export async function memberOf(namespace: string): Promise<number | undefined> {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      if ((await readlink(`/proc/${name}/ns/mnt`)) === namespace) return Number(name)
    } catch (error) {
      // ENOENT, ESRCH: it ended. EACCES, EPERM: not ours to look at.
      if (!hasCode(error, 'ENOENT', 'ESRCH', 'EACCES', 'EPERM')) throw error
    }
  }
  return undefined
}

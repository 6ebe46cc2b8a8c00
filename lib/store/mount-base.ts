/**
 * What a new mount of a subject is made from: the overlay that is there already, cloned, or else a new one. The
 * kernel would let two overlays write to one upper directory (index=off), and what they leave there is undefined.
 */
import type { MountOptions } from '../driver/driver.ts'
import { expectAlive } from '../driver/home/mounts.ts'
import { OverlaidError } from '../errors.ts'
import { cloneMount, cloneMountFd, type Detached, mountIDAt } from '../native/mount.ts'
import type { StoreContext } from './context.ts'
import { here, type Hold, isMounted } from './hold.ts'
import {
  cloneProblem,
  mountAttributes,
  mountOptions,
  type MountRequest,
  shareProblem,
} from './mount-request.ts'

/** A mount of the subject that this process can reach. */
export interface Base {
  readonly mountID: string
  /** Absent of a detached mount of this process, which `fd` leads to. */
  readonly path?: string
  readonly fd?: number
  readonly options: MountOptions
  /** Not ours: nobody of ours unmounts it. */
  readonly borrowed: boolean
}

export interface BaseQuery {
  /** For messages. */
  readonly label: string
  /** Where the driver mounts the subject. */
  readonly merged: string
  /** The new mount is to be the one at `merged`: then it must be the same in every option. */
  readonly share: boolean
  /** Nothing writes to it, so a second overlay beside one that cannot be reached does no harm. */
  readonly isReadOnly: boolean
}

/**
 * A mount to share or to clone; undefined when a new one is to be made.
 * @throws ERR_IN_USE when there is one, but out of reach or with other options
 */
export async function findBase(
  store: StoreContext,
  live: readonly Hold[],
  query: BaseQuery,
  request: MountRequest,
): Promise<Base | undefined> {
  const bases = await reachable(store, live, query.merged)
  const problems: string[] = []
  for (const base of bases) {
    const isSame = query.share && base.path === query.merged
    const problem = isSame ? shareProblem(base.options, request) : cloneProblem(base.options, request)
    if (problem === undefined) return await expectServed(store, base, query)
    problems.push(problem)
  }
  if (query.isReadOnly && !query.share) return undefined
  if (problems.length > 0) {
    throw new OverlaidError('ERR_IN_USE', `${query.label} is mounted already, with ${problems.join(', ')}`, {
      hint: 'unmount it first, or ask for the options that it has',
    })
  }
  if (query.isReadOnly || live.length === 0) return undefined
  throw outOfReach(query.label, live)
}

/** @throws ERR_DEAD_MOUNT when the program behind the mount has died */
async function expectServed({ driver }: StoreContext, base: Base, { label }: BaseQuery): Promise<Base> {
  const path = base.path ?? `/proc/self/fd/${String(base.fd)}/.`
  if (driver.server !== undefined) await expectAlive(path, label, driver.server)
  return base
}

/** The mounts that this process can reach; the one at `merged` first, also when nobody of ours made it. */
async function reachable(store: StoreContext, live: readonly Hold[], merged: string): Promise<Base[]> {
  const place = here()
  const bases: Base[] = []
  for (const { path, content } of live) {
    const { mountID, options, borrowed } = content
    const fd = store.mounts.get(path)?.fd
    const isHere = content.kind !== 'namespace' && content.namespace === place.namespace
    if (fd !== undefined) bases.push({ mountID, fd, options, borrowed: false })
    else if (isHere && content.path !== undefined && (await isMounted(content, place))) {
      bases.push({ mountID, path: content.path, options, borrowed })
    }
  }
  bases.sort((a, b) => Number(b.path === merged) - Number(a.path === merged))
  if (bases[0]?.path === merged) return bases
  const foreign = await mountIDAt(merged)
  return foreign === undefined
    ? bases
    : [{ mountID: String(foreign), path: merged, options: {}, borrowed: true }, ...bases]
}

function outOfReach(label: string, live: readonly Hold[]): OverlaidError {
  const holders = live.map(({ content }) => {
    const where =
      content.kind === 'detached' ? 'detached' : `at ${content.path ?? '?'} in ${content.namespace}`
    return `process ${String(content.pid)}, ${where}`
  })
  return new OverlaidError('ERR_IN_USE', `${label} is mounted where this process cannot reach it`, {
    detail: holders,
    hint: 'one writable layer takes one overlay at a time: unmount it there, or use it there',
  })
}

/** A detached mount: a clone of `base`, or a new one by the driver. */
export async function openRoot(
  store: StoreContext,
  driverID: string,
  base: Base | undefined,
  request: MountRequest,
): Promise<Detached> {
  const waiting = request.signal === undefined ? {} : { signal: request.signal }
  if (base === undefined) return store.driver.open(driverID, { ...mountOptions(request), ...waiting })
  const attributes = mountAttributes(request)
  return base.fd === undefined ? cloneMount(base.path ?? '', attributes) : cloneMountFd(base.fd, attributes)
}

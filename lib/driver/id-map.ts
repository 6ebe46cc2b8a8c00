/**
 * Mappings of user and group ids: a container sees its own, the file system has others, and layers are shared all the
 * same. The kernel maps on the way (MOUNT_ATTR_IDMAP: folders 5.12, as overlayfs' layers 5.19); nothing in a layer is
 * copied or changed its owner.
 *
 *     in the image's layers   mapped for the mount   in the container, from outside   in its upper directory
 *     0                       → 100000               100000                           100000
 *
 * Inside a user namespace with the same mapping that is 0 again. What a process writes is in the upper directory with
 * the ids from outside; to be read as a layer that is mapped the other way round.
 */
import { OverlaidError } from '../errors.ts'
import { binding } from '../native/binding.ts'
import { OwnedFd } from '../native/fd.ts'

/** `size` ids from `container` on are those from `host` on outside. */
export interface IDRange {
  readonly container: number
  readonly host: number
  readonly size: number
}

export interface IDMap {
  readonly uid: readonly IDRange[]
  readonly gid: readonly IDRange[]
}

/** Linux 4.15; before there were five. */
const MAX_RANGES = 340
const ID_END = 2 ** 32 - 1

/** @throws ERR_INVALID_ARGUMENT for what the kernel would refuse with a bare EINVAL, and when root has no id outside */
export function expectIDMap({ uid, gid }: IDMap): void {
  for (const [kind, ranges] of [['uid', uid] as const, ['gid', gid] as const]) {
    if (ranges.length === 0 || ranges.length > MAX_RANGES) {
      throw bad(`${String(ranges.length)} ranges of ${kind}s`, `a map has 1 to ${String(MAX_RANGES)}`)
    }
    for (const range of ranges) expectRange(kind, range)
    for (const side of ['container', 'host'] as const) expectApart(kind, ranges, side)
    if (hostID(ranges, 0) === undefined) {
      throw bad(`no ${kind} outside for the container's 0`, 'map 0: its root folder belongs to it')
    }
  }
}

function expectRange(kind: string, { container, host, size }: IDRange): void {
  const isValid = [container, host].every((id) => Number.isSafeInteger(id) && id >= 0 && id + size <= ID_END)
  if (isValid && Number.isSafeInteger(size) && size > 0) return
  throw bad(
    `${[container, host, size].join(':')} as ${kind}s`,
    'it is CONTAINER:HOST:SIZE, ids below 2^32 - 1',
  )
}

function expectApart(kind: string, ranges: readonly IDRange[], side: 'container' | 'host'): void {
  const sorted = ranges.toSorted((a, b) => a[side] - b[side])
  sorted.reduce((before, range) => {
    if (range[side] >= before[side] + before.size) return range
    throw bad(`${kind} ${String(range[side])} twice`, 'ranges of a map may not overlap, inside or outside')
  })
}

function bad(what: string, hint: string): OverlaidError {
  return new OverlaidError('ERR_INVALID_ARGUMENT', `an id map cannot have ${what}`, { hint })
}

/** The id outside. */
export function hostID(ranges: readonly IDRange[], id: number): number | undefined {
  const found = ranges.find(({ container, size }) => id >= container && id < container + size)
  return found === undefined ? undefined : found.host + id - found.container
}

/** From the ids outside to those inside. */
export function inverse({ uid, gid }: IDMap): IDMap {
  const turn = ({ container, host, size }: IDRange): IDRange => ({ container: host, host: container, size })
  return { uid: uid.map(turn), gid: gid.map(turn) }
}

/** The ranges of /proc/PID/uid_map. */
export function parseRanges(text: string): IDRange[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return lines.map((line) => {
    const [container = NaN, host = NaN, size = NaN] = line.trim().split(/\s+/).map(Number)
    return { container, host, size }
  })
}

/** As /proc/PID/uid_map takes it. */
export function formatRanges(ranges: readonly IDRange[]): string {
  return ranges.map((range) => `${[range.container, range.host, range.size].join(' ')}\n`).join('')
}

/** A user namespace that has the mapping, for as long as it is open. @throws SyscallError */
export async function openUserNamespace({ uid, gid }: IDMap): Promise<OwnedFd> {
  return new OwnedFd(await binding.userNamespace(formatRanges(uid), formatRanges(gid)))
}

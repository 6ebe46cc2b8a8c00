/** Lowers whose ids are mapped: which, and how they are given to the kernel. */
import type { binding, Bytes } from '../../native/binding.ts'
import { type Rung, takesMappedFds } from '../../native/rung.ts'
import { TRASH_DIR } from '../home/home.ts'
import { LINK_DIR } from './layout.ts'
import type { LayerNames, Mapping } from './options.ts'

/** All lowers, or the first `count`, have the ids that the user namespace maps. */
export interface LowerMap {
  readonly usernsFd: number
  readonly count?: number
}

/** Of all lowers that there are, `end`, those are mapped that come after the first `from`. */
export function mappingOf(
  idMap: LowerMap | undefined,
  from: number,
  end: number,
): { readonly mapping?: Mapping } {
  const to = Math.min(end, from + (idMap?.count ?? end))
  return idMap === undefined || to <= from ? {} : { mapping: { usernsFd: idMap.usernsFd, from, to } }
}

export function isMapped(mapping: Mapping | undefined, index: number): mapping is Mapping {
  return mapping !== undefined && index >= mapping.from && index < mapping.to
}

/** Names alone cannot say that ids are to be mapped. */
export async function rungForMapped(
  home: string,
  { usernsFd }: Mapping,
  via: Rung | undefined,
): Promise<Rung> {
  if (via !== undefined) return via === 'fds' ? via : 'mount2'
  return (await takesMappedFds(home, [LINK_DIR, TRASH_DIR], usernsFd)) ? 'fds' : 'mount2'
}

/** Mapped lowers are found below the trash, which no layer is in, by their number. */
export function withPlaces(layers: LayerNames): { names: LayerNames; mapped?: MappedFolders } {
  const { mapping, lowers } = layers
  if (mapping === undefined) return { names: layers }
  const { usernsFd, from, to } = mapping
  const place = (lower: Bytes, index: number): Bytes =>
    isMapped(mapping, index) ? `${TRASH_DIR}/${String(index - from)}` : lower
  const folders = lowers.slice(from, to).map((path) => ({ path, usernsFd }))
  return { names: { ...layers, lowers: lowers.map(place) }, mapped: { place: TRASH_DIR, layers: folders } }
}

type MappedFolders = NonNullable<Parameters<typeof binding.mountDetached>[6]>

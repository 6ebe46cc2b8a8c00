/** The id map of a container's layer, in its folder: `uid` or `gid`, then a line of /proc/PID/uid_map. */
import { chownSync } from 'node:fs'
import { OverlaidError } from '../../errors.ts'
import { writeNewNow } from '../../fs/atomic.ts'
import { formatRanges, hostID, type IDMap, parseRanges } from '../id-map.ts'
import { type LayerFolder, MODES } from './layout.ts'
import { readRareText } from './links.ts'

/** Writes it, and gives `folders`, which are not mapped themselves, to the container's root. */
export function writeIDMap(folder: LayerFolder, idMap: IDMap, folders: readonly string[]): void {
  const lines = (['uid', 'gid'] as const).flatMap((kind) => {
    return idMap[kind].map((range) => `${kind} ${formatRanges([range])}`)
  })
  writeNewNow(folder.idMap, lines.join(''), MODES.idMap)
  const [uid, gid] = [hostID(idMap.uid, 0) ?? 0, hostID(idMap.gid, 0) ?? 0]
  for (const path of folders) chownSync(path, uid, gid)
}

/** Undefined for a layer without. @throws ERR_DAMAGED */
export function readIDMap(folder: LayerFolder): IDMap | undefined {
  const text = readRareText(folder.idMap)
  if (text === undefined) return undefined
  const lines = text.trimEnd().split('\n')
  if (!lines.every((line) => /^[ug]id \d+ \d+ \d+$/.test(line))) {
    throw new OverlaidError('ERR_DAMAGED', `${folder.idMap} is no id map`, { path: folder.idMap })
  }
  const of = (kind: string) =>
    parseRanges(
      lines
        .filter((line) => line.startsWith(kind))
        .map((line) => line.slice(kind.length))
        .join('\n'),
    )
  return { uid: of('uid'), gid: of('gid') }
}

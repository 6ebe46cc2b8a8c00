/** The id map of a container's layer on disk: lines of `uid` or `gid`, then a line of /proc/PID/uid_map. */
import { OverlaidError } from '../../errors.ts'
import { readRareText } from '../../fs/read-text.ts'
import { formatRanges, type IDMap, parseRanges } from '../id-map.ts'

export function formatIDMap(idMap: IDMap): string {
  const lines = (['uid', 'gid'] as const).flatMap((kind) => {
    return idMap[kind].map((range) => `${kind} ${formatRanges([range])}`)
  })
  return lines.join('')
}

/** Undefined where there is no such file. @throws ERR_DAMAGED */
export function readIDMap(path: string): IDMap | undefined {
  const text = readRareText(path)
  if (text === undefined) return undefined
  const lines = text.trimEnd().split('\n')
  if (!lines.every((line) => /^[ug]id \d+ \d+ \d+$/.test(line))) {
    throw new OverlaidError('ERR_DAMAGED', `${path} is no id map`, { path })
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

/** @throws ERR_INVALID_ARGUMENT when it asks to write to a layer with an id map as if it had none */
export function expectReadOnly({ readOnly }: { readonly readOnly?: boolean }): void {
  if (readOnly === true) return
  const message = 'a layer with an id map is written to with its ids mapped'
  throw new OverlaidError('ERR_INVALID_ARGUMENT', message, { hint: 'unmapped goes with readOnly' })
}

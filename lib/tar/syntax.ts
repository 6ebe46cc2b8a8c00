import { OverlaidError } from '../errors.ts'

/** What is wrong with a header or an extension, before the reader knows to say where. Never leaves lib/tar. */
export class TarSyntaxError extends Error {
  override readonly name = 'TarSyntaxError'
}

/** Where in an archive something was found. */
export interface Place {
  readonly offset: number
  /** The member, where its name is known. */
  readonly entry?: Uint8Array
}

/** ERR_BAD_TAR that says what is wrong, at which byte and in which entry. */
export function badTar(what: string, place: Place, cause?: unknown): OverlaidError {
  return new OverlaidError(
    'ERR_BAD_TAR',
    `bad tar: ${what}${locate(place)}`,
    cause === undefined ? {} : { cause },
  )
}

/** ERR_LIMIT_EXCEEDED, located in the same way. */
export function overLimit(what: string, place: Place): OverlaidError {
  return new OverlaidError('ERR_LIMIT_EXCEEDED', `tar: ${what}${locate(place)}`)
}

function locate({ offset, entry }: Place): string {
  const name = entry === undefined ? '' : ` (entry ${quoteName(entry)})`
  return ` at byte ${String(offset)}${name}`
}

/** A member's name for a message: control characters escaped, long ones cut. */
export function quoteName(name: Uint8Array): string {
  const text = Buffer.from(name.buffer, name.byteOffset, name.length).toString('utf8')
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text)
}

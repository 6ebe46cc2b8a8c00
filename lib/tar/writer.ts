import { OverlaidError } from '../errors.ts'
import { encodeHeader, type EncodeOptions, type TarMember } from './encode.ts'
import { Gatherer } from './gatherer.ts'
import { BLOCK, paddingOf } from './header.ts'
import { quoteName } from './syntax.ts'

/** Ends an archive: two blocks of NULs. */
export const END_OF_ARCHIVE: Buffer = Buffer.alloc(2 * BLOCK)

const PADDING = Buffer.alloc(BLOCK)

/** The NULs that follow a body of `size` bytes. */
export function padding(size: number): Buffer {
  return PADDING.subarray(0, paddingOf(size))
}

/** A member with its body, where it has one. */
export interface TarSource {
  readonly member: TarMember
  /** Must give exactly `member.size` bytes; read only when that is not 0. */
  readonly body?: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

/**
 * An archive of `sources`, the same bytes for the same members: no padding past the two closing blocks, as Go
 * writes it. Small pieces are gathered into chunks of about 64 KiB.
 *
 * @throws ERR_SIZE_MISMATCH when a body is not as long as its header says; ERR_INVALID_ARGUMENT
 */
export async function* writeTar(
  sources: AsyncIterable<TarSource> | Iterable<TarSource>,
  options: EncodeOptions & { readonly signal?: AbortSignal } = {},
): AsyncGenerator<Buffer> {
  const gather = new Gatherer()
  for await (const { member, body } of sources) {
    options.signal?.throwIfAborted()
    gather.add(encodeHeader(member, options))
    let written = 0
    if (member.size > 0) {
      for await (const chunk of body?.() ?? []) {
        written += chunk.length
        if (written > member.size) break
        gather.add(chunk)
        if (gather.isFull) yield gather.flush()
      }
    }
    if (written !== member.size) throw wrongSize(member, written)
    gather.add(padding(member.size))
    if (gather.isFull) yield gather.flush()
  }
  gather.add(END_OF_ARCHIVE)
  yield gather.flush()
}

function wrongSize({ name, size }: TarMember, written: number): OverlaidError {
  const text = `${quoteName(name)} has ${written > size ? 'more than ' : ''}${String(Math.min(written, size))} bytes`
  return new OverlaidError(
    'ERR_SIZE_MISMATCH',
    `${text}, its header says ${String(size)}: changed while it was read?`,
  )
}

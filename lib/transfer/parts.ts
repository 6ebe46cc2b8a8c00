/** The files that an image is made of, by their paths in an archive or a folder. */
import { OverlaidError } from '../errors.ts'
import { type AnyDigest, hexOf } from '../oci/digest.ts'
import { checkSize } from '../oci/json.ts'

/** One file. */
export interface Part {
  /** Bytes. */
  readonly size: number
  /** The content, all `size` bytes or an error, as often as asked for and several at a time. Needs no `this`. */
  readonly read: (signal?: AbortSignal) => AsyncIterable<Buffer>
}

/** Files by path. Paths are relative and clean; nothing outside the archive or folder is ever reached. */
export interface Parts extends AsyncDisposable {
  /** What it is, for messages: the archive's path, `the archive`. */
  readonly name: string
  /** The file at `path`, links followed. Undefined when there is none. */
  find(path: string): Promise<Part | undefined>
}

/** Where a layout keeps a blob. @see OCI image-spec, image-layout.md, "Blobs" */
export function blobPath(digest: AnyDigest): string {
  return `blobs/sha256/${hexOf(digest)}`
}

/**
 * The file at `path`.
 * @throws ERR_BAD_MANIFEST when there is none
 */
export async function findPart(parts: Parts, path: string): Promise<Part> {
  const part = await parts.find(path)
  if (part !== undefined) return part
  throw new OverlaidError(
    'ERR_BAD_MANIFEST',
    `${parts.name} has no ${JSON.stringify(path)}, though it names it`,
  )
}

/**
 * The bytes of a document.
 * @throws ERR_LIMIT_EXCEEDED when it is over 4 MiB, before it is read
 */
export async function readDocument(part: Part, what: string, signal?: AbortSignal): Promise<Buffer> {
  checkSize(part.size, what)
  const chunks: Buffer[] = []
  for await (const chunk of part.read(signal)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

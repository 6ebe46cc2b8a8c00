/**
 * The names that bytes have: `sha256:` and 64 lower-case hex digits. Four kinds, each a type of its own, so that
 * taking one for another does not compile.
 */
import { createHash, type Hash } from 'node:crypto'
import { type ErrorCode, OverlaidError } from '../errors.ts'

declare const kind: unique symbol

/** sha256 of a blob as it is stored or transferred: a config, a manifest, a possibly compressed layer. */
export type Digest = string & { readonly [kind]: 'digest' }
/** sha256 of a layer's uncompressed tar. */
export type DiffID = string & { readonly [kind]: 'diffID' }
/** Names a layer on its parents: see chain-id.ts. */
export type ChainID = string & { readonly [kind]: 'chainID' }
/** A directory's name under the driver's home. Not a digest. */
export type CacheID = string & { readonly [kind]: 'cacheID' }

/** Any of the three that are sha256 digests. */
export type AnyDigest = Digest | DiffID | ChainID

/**
 * The diffID of an archive of nothing, 1024 NUL bytes. A commit or an import that changes nothing adds no layer.
 * @see moby `layer.DigestSHA256EmptyTar`
 */
export const EMPTY_TAR_DIFF_ID: DiffID =
  'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef' as DiffID

/**
 * The only form there is. A digest becomes part of a path, so it is never anything else (CVE-2024-3727): other
 * algorithms that the specification knows are refused, since no store of Docker's has them.
 */
const SHA256 = /^sha256:[0-9a-f]{64}$/
const ALGORITHM = /^([a-z0-9]+(?:[.+_-][a-z0-9]+)*):[a-zA-Z0-9=_-]+$/
/**
 * Docker makes 64 hex digits, with `-init` for an init layer; BuildKit 25 base36 characters. Any one path
 * component without a leading dot is taken.
 */
const CACHE_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/

/** Whether `text` is a sha256 digest in its one canonical form. */
export function isDigest(text: unknown): boolean {
  return typeof text === 'string' && SHA256.test(text)
}

/** Why `text` is not a digest that is read here, in words; undefined when it is one. */
export function digestProblem(text: string): string | undefined {
  if (isDigest(text)) return undefined
  const algorithm = ALGORITHM.exec(text)?.[1]
  if (algorithm !== undefined && algorithm !== 'sha256') {
    return `the digest algorithm ${algorithm} is not supported, only sha256`
  }
  return `${JSON.stringify(text.slice(0, 100))} is not a digest (sha256: and 64 lower-case hex digits)`
}

function checked(text: string, code: ErrorCode): string {
  const problem = digestProblem(text)
  if (problem !== undefined) throw new OverlaidError(code, problem)
  return text
}

/**
 * `text` as a digest.
 * @param code of the error, by where the text came from; default `ERR_INVALID_REFERENCE`, what a user typed
 */
export function parseDigest(text: string, code: ErrorCode = 'ERR_INVALID_REFERENCE'): Digest {
  return checked(text, code) as Digest
}

/** `text` as a diffID; see {@link parseDigest}. */
export function parseDiffID(text: string, code: ErrorCode = 'ERR_INVALID_REFERENCE'): DiffID {
  return checked(text, code) as DiffID
}

/** `text` as a chainID; see {@link parseDigest}. */
export function parseChainID(text: string, code: ErrorCode = 'ERR_INVALID_REFERENCE'): ChainID {
  return checked(text, code) as ChainID
}

/**
 * `text` as a cacheID: safe as one path component.
 * @param code of the error; default `ERR_DAMAGED`, since it is read from a store
 */
export function parseCacheID(text: string, code: ErrorCode = 'ERR_DAMAGED'): CacheID {
  if (!CACHE_ID.test(text)) {
    throw new OverlaidError(code, `${JSON.stringify(text.slice(0, 100))} is not a cacheID`)
  }
  return text as CacheID
}

/** The 64 hex digits of a digest, as used in paths. */
export function hexOf(digest: AnyDigest): string {
  return digest.slice('sha256:'.length)
}

/** The digest of bytes in memory; a string is hashed as UTF-8. */
export function digestOf(bytes: Buffer | string): Digest {
  return asDigest(createHash('sha256').update(bytes))
}

function asDigest(hash: Hash): Digest {
  return `sha256:${hash.digest('hex')}` as Digest
}

/** Passes a stream on and measures it. {@link Measured.digest} and size are of all bytes, once it has ended. */
export class Measured implements AsyncIterable<Buffer> {
  readonly #stream: AsyncIterable<Buffer>
  readonly #hash = createHash('sha256')
  #digest: Digest | undefined
  #size = 0

  constructor(stream: AsyncIterable<Buffer>) {
    this.#stream = stream
  }

  /** Bytes that have passed. */
  get size(): number {
    return this.#size
  }

  /** @throws {Error} before the end of the stream was reached: a program's mistake, not the input's */
  get digest(): Digest {
    if (this.#digest === undefined) throw new Error('the digest of a stream is known at its end')
    return this.#digest
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for await (const chunk of this.#stream) {
      this.#hash.update(chunk)
      this.#size += chunk.length
      yield chunk
    }
    this.#digest = asDigest(this.#hash)
  }
}

/** What a stream must turn out to be. */
export interface Expected {
  readonly digest?: AnyDigest
  /** Bytes. */
  readonly size?: number
  /** What it is, for the message: `layer 2 of alpine`. */
  readonly what: string
}

/**
 * Passes a stream on and fails at its end when it was not what is expected: whoever acts on the bytes must wait
 * for the end before anything durable is made of them. One byte too many fails at once.
 * @throws ERR_SIZE_MISMATCH, ERR_DIGEST_MISMATCH
 */
export async function* verified(stream: AsyncIterable<Buffer>, expected: Expected): AsyncGenerator<Buffer> {
  const measured = new Measured(stream)
  for await (const chunk of measured) {
    checkSoFar(measured.size, expected)
    yield chunk
  }
  checkWhole(measured, expected)
}

/** @throws ERR_SIZE_MISMATCH when more bytes have passed than are expected of the whole */
export function checkSoFar(passed: number, { size, what }: Expected): void {
  if (size !== undefined && passed > size) throw sizeMismatch(what, size, 'more than that')
}

/** Checks a stream that has ended. @throws ERR_SIZE_MISMATCH, ERR_DIGEST_MISMATCH */
export function checkWhole(
  stream: { readonly size: number; readonly digest: AnyDigest },
  { size, digest, what }: Expected,
): void {
  if (size !== undefined && stream.size !== size) throw sizeMismatch(what, size, String(stream.size))
  if (digest !== undefined) checkDigest(stream.digest, digest, what)
}

/** @throws ERR_DIGEST_MISMATCH when `actual` is another digest than `expected` */
export function checkDigest(actual: AnyDigest, expected: AnyDigest, what: string): void {
  if (String(actual) === String(expected)) return
  throw new OverlaidError('ERR_DIGEST_MISMATCH', `${what} should have digest ${expected}, but has ${actual}`)
}

function sizeMismatch(what: string, size: number, actual: string): OverlaidError {
  return new OverlaidError(
    'ERR_SIZE_MISMATCH',
    `${what} should have ${String(size)} bytes, but has ${actual}`,
  )
}

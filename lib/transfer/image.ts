/** Images put together from their parts, and what every kind of source checks of them. */
import { OverlaidError } from '../errors.ts'
import { type ImageConfig, parseConfig } from '../oci/config.ts'
import { type Digest, type DiffID, checkDigest, digestOf } from '../oci/digest.ts'
import { type Platform, formatPlatform } from '../oci/platform.ts'
import type { SourceLayer } from './source.ts'
import { verifiedSource } from './verified-source.ts'

/** What {@link readConfig} found. */
export interface ReadConfig {
  readonly configBytes: Buffer
  readonly config: ImageConfig
}

/**
 * Reads an image config.
 * @param digest that it must have, where its name or descriptor says so
 * @throws ERR_DIGEST_MISMATCH, ERR_BAD_MANIFEST; ERR_UNSUPPORTED_PLATFORM when it is not for Linux
 */
export function readConfig(configBytes: Buffer, what: string, digest?: Digest): ReadConfig {
  if (digest !== undefined) checkDigest(digestOf(configBytes), digest, what)
  const config = parseConfig(configBytes, what)
  if (config.os !== 'linux') throw unsupportedPlatform(what, [config])
  return { configBytes, config }
}

/** Another architecture is no obstacle: its files are of use, and binfmt_misc may even run it. */
export function unsupportedPlatform(what: string, platforms: readonly Platform[]): OverlaidError {
  const names = [...new Set(platforms.map(formatPlatform))].join(', ')
  return new OverlaidError(
    'ERR_UNSUPPORTED_PLATFORM',
    `${what} is for ${names === '' ? 'no platform' : names}`,
  )
}

/**
 * Checks that an image has a layer for each diffID.
 * @throws ERR_BAD_MANIFEST
 */
export function checkLayerCount(count: number, config: ImageConfig, what: string): void {
  const expected = config.rootfs.diff_ids.length
  if (count === expected) return
  throw new OverlaidError(
    'ERR_BAD_MANIFEST',
    `${what} lists ${String(count)} layers, but its config has ${String(expected)} diffIDs`,
  )
}

/** A blob, and what it must be. */
export interface LayerBlob {
  readonly diffID: DiffID
  /** Where the source states it. */
  readonly digest?: Digest | undefined
  /** Bytes. */
  readonly size: number
  /** For messages. */
  readonly what: string
  readonly read: (signal?: AbortSignal) => AsyncIterable<Buffer>
}

/**
 * A layer of a source, whose blob is checked as it is read. One that has its diffID for its digest is an
 * uncompressed tar: whoever reads it checks the diffID, so it is not hashed twice.
 */
export function sourceLayer({ diffID, digest, size, what, read }: LayerBlob): SourceLayer {
  const open = (signal?: AbortSignal): AsyncIterable<Buffer> =>
    digest === undefined || isSame(digest, diffID)
      ? read(signal)
      : verifiedSource(read(signal), { digest, size, what })
  return { diffID, size, open, ...(digest && { digest }) }
}

function isSame(digest: Digest, diffID: DiffID): boolean {
  return String(digest) === String(diffID)
}

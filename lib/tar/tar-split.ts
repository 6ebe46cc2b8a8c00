/**
 * tar-split: what is left of an archive when the bodies of its files are on disk, in moby's format
 * (`tar-split.json.gz`), so that the archive can be written out again byte for byte.
 */

/** CRC-64/GO-ISO of `data` continued from `state`, the 8-byte big-endian running value, in place. */
export type Crc64 = (state: Uint8Array, data: Uint8Array) => void

/** The part of a driver's FileGetter that reassembly needs. */
export interface BodyGetter {
  /** An fd of the member's file, which the caller closes. */
  open(name: Uint8Array): Promise<number>
}

/** Records an archive as it is read. It is a TarObserver: pass it to `apply`, and read {@link output} meanwhile. */
export class TarSplitWriter {
  constructor(options: { readonly crc64?: Crc64 } = {}) {
    throw new Error(`not yet ${String(options)}`)
  }
  segment(_bytes: Buffer): void {}
  entry(_name: Buffer, _size: number): void {}
  body(_bytes: Buffer): void {}
  /** Resolves when more may be fed without piling up memory; the reader awaits it. */
  ready(): Promise<void> | undefined {
    return undefined
  }
  /** The gzip'ed records; must be consumed while the archive is read (pipe it to the file). */
  get output(): AsyncIterable<Buffer> {
    throw new Error('not yet')
  }
  /** The archive has ended: `output` ends after the last record. */
  end(): void {}
  /** The archive failed: `output` fails with `error`. */
  destroy(_error: unknown): void {}
}

/** The archive's bytes again. @throws ERR_DAMAGED naming the file when a body is not what it was */
export async function* assembleTar(
  tarSplit: AsyncIterable<Buffer>,
  files: BodyGetter,
  _options: { readonly crc64?: Crc64; readonly signal?: AbortSignal } = {},
): AsyncGenerator<Buffer> {
  throw new Error(`not yet ${String([tarSplit, files])}`)
}

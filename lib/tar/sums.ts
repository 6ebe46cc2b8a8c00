/** The sums of an archive as it is read: sha256 of all of it, CRC-64 of each body. */
import { createHash } from 'node:crypto'
import { crc64 as portableCrc64 } from './crc64.ts'

/** CRC-64/GO-ISO of `data` continued from `state`, the 8-byte big-endian running value, in place. */
export type Crc64 = (state: Uint8Array, data: Uint8Array) => void

/** Bytes of one CRC. */
export const CRC_BYTES = 8

export interface ArchiveSums {
  /**
   * Goes on with `bytes` from `from` on; one call at a time, and `bytes` stay as they are until it is done.
   * @param ranges parts of bodies in `bytes`: start and end in turn
   * @param goesOn whether the first range goes on with the body of the last one of the call before
   * @returns the CRC of each range's body so far, 8 bytes big-endian each
   */
  update(bytes: Buffer, from: number, ranges: Uint32Array, goesOn: boolean): Promise<Buffer>
  /** sha256 of all bytes, once. */
  digest(): Buffer
}

/** Sums made on the calling thread. */
export class PortableSums implements ArchiveSums {
  readonly #crc64: Crc64
  readonly #hash = createHash('sha256')
  readonly #state = Buffer.alloc(CRC_BYTES)

  constructor(crc64: Crc64 = portableCrc64) {
    this.#crc64 = crc64
  }

  async update(bytes: Buffer, from: number, ranges: Uint32Array, goesOn: boolean): Promise<Buffer> {
    this.#hash.update(bytes.subarray(from))
    const crcs = Buffer.alloc((ranges.length / 2) * CRC_BYTES)
    for (let i = 0; i < ranges.length; i += 2) {
      if (i > 0 || !goesOn) this.#state.fill(0)
      this.#crc64(this.#state, bytes.subarray(ranges[i], ranges[i + 1]))
      this.#state.copy(crcs, (i / 2) * CRC_BYTES)
    }
    // Nothing to wait for; a promise, since others have.
    return Promise.resolve(crcs)
  }

  digest(): Buffer {
    return this.#hash.digest()
  }
}

/** The sums of an archive on a thread of the pool. */
import { type ArchiveSums, PortableSums } from '../tar/sums.ts'
import { binding, type SumsHandle } from './binding.ts'

/** Sums made beside the calling thread; on it where this Node has no OpenSSL for the addon. */
export function archiveSums(): ArchiveSums {
  const handle = binding.sumsNew()
  if (handle !== undefined) return new NativeSums(handle)
  return new PortableSums((state, data) => {
    binding.crc64(state, data)
  })
}

class NativeSums implements ArchiveSums {
  readonly #handle: SumsHandle

  constructor(handle: SumsHandle) {
    this.#handle = handle
  }

  update(bytes: Buffer, from: number, ranges: Uint32Array, goesOn: boolean): Promise<Buffer> {
    return binding.sumsUpdate(this.#handle, bytes, from, ranges, goesOn)
  }

  digest(): Buffer {
    return binding.sumsDigest(this.#handle)
  }
}

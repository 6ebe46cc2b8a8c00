/** zstd frames without compression, made by hand: Node 20 cannot compress, and the zstd command may be missing. */

const MAX_BLOCK = 128 * 1024

/** A frame of raw blocks, with a window of 1 MiB and no checksum. @see RFC 8878 */
export function zstdFrame(bytes: Buffer): Buffer {
  const blocks: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (20 - 10) << 3])]
  for (let at = 0; at === 0 || at < bytes.length; at += MAX_BLOCK) {
    const block = bytes.subarray(at, at + MAX_BLOCK)
    const isLast = at + MAX_BLOCK >= bytes.length
    const header = Buffer.alloc(3)
    header.writeUIntLE((block.length << 3) | Number(isLast), 0, 3)
    blocks.push(header, block)
  }
  return Buffer.concat(blocks)
}

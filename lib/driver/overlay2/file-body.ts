/** The bytes of a file for an archive whose header has said how many there are. */
import { closeSync, read as readCallback, readSync } from 'node:fs'
import { promisify } from 'node:util'

const read = promisify(readCallback)

/** Node's thread pool costs 40 µs a call: below this a read from the page cache is cheaper on the spot. */
const SYNC_BYTES = 128 * 1024
/** Larger reads don't get faster; 64 KiB ones cost a third of the speed. */
const CHUNK_BYTES = 1024 * 1024

/**
 * Reads `size` bytes of the file that `open` opens, and closes it. A file that has shrunk since its size was taken
 * (a container may be running) is filled up with NULs, of one that has grown the rest is left out: the archive stays
 * well-formed, as with every tar of a live tree.
 */
export async function* readExactly(
  open: () => Promise<number>,
  size: number,
): AsyncGenerator<Buffer, void, undefined> {
  const fd = await open()
  try {
    let left = size
    let atEnd = false
    while (left > 0) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(left, CHUNK_BYTES))
      const got: number = atEnd ? 0 : await readSome(fd, buffer, size)
      atEnd = got === 0
      left -= atEnd ? buffer.length : got
      yield atEnd ? buffer.fill(0) : buffer.subarray(0, got)
    }
  } finally {
    closeSync(fd)
  }
}

async function readSome(fd: number, buffer: Buffer, size: number): Promise<number> {
  if (size <= SYNC_BYTES) return readSync(fd, buffer)
  return (await read(fd, buffer, 0, buffer.length, null)).bytesRead
}

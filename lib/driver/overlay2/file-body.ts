/** The bytes of a file for an archive whose header has said how many there are. */
import { closeSync, read as readCallback, readSync } from 'node:fs'
import { promisify } from 'node:util'

const read = promisify(readCallback)

/** Node's thread pool costs 40 µs a call: below this a read from the page cache is cheaper on the spot. */
const SYNC_BYTES = 128 * 1024
/** Larger reads don't get faster; 64 KiB ones cost a third of the speed. */
const CHUNK_BYTES = 1024 * 1024

/**
 * `size` bytes of the file that `open` opens, which is closed after. A file that has shrunk since its size was taken
 * (a container may be running) is filled up with NULs, of one that has grown the rest is left out: the archive stays
 * well-formed, as with every tar of a live tree.
 */
export function fileBody(
  open: () => number | Promise<number>,
  size: number,
): Iterable<Buffer> | AsyncIterable<Buffer> {
  if (size > SYNC_BYTES) return readChunks(open, size)
  const fd = open()
  return typeof fd === 'number' ? [readWhole(fd, size)] : readChunks(() => fd, size)
}

function readWhole(fd: number, size: number): Buffer {
  const buffer = Buffer.allocUnsafe(size)
  try {
    let at = 0
    for (let got = -1; at < size && got !== 0; at += got) got = readSync(fd, buffer, at, size - at, null)
    return buffer.fill(0, at)
  } finally {
    closeSync(fd)
  }
}

async function* readChunks(
  open: () => number | Promise<number>,
  size: number,
): AsyncGenerator<Buffer, void, undefined> {
  const fd = await open()
  try {
    let left = size
    let atEnd = false
    while (left > 0) {
      // Not from Node's pool and not used twice: whoever takes the chunk may keep it.
      const buffer = Buffer.allocUnsafeSlow(Math.min(left, CHUNK_BYTES))
      const got: number = atEnd ? 0 : (await read(fd, buffer, 0, buffer.length, null)).bytesRead
      atEnd = got === 0
      left -= atEnd ? buffer.length : got
      yield atEnd ? buffer.fill(0) : buffer.subarray(0, got)
    }
  } finally {
    closeSync(fd)
  }
}

/** Whether two files have the same bytes. */
import { constants, readSync } from 'node:fs'
import { openDeep } from '../../fs/open-deep.ts'
import { OwnedFd } from '../../native/fd.ts'

const OPEN_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const CHUNK_BYTES = 256 * 1024

/** Of `path` in two trees, where it is a file of the same size in both. */
export async function isSameContent(aRoot: number, bRoot: number, path: Buffer): Promise<boolean> {
  using a = new OwnedFd(await openDeep(aRoot, path, OPEN_FILE))
  using b = new OwnedFd(await openDeep(bRoot, path, OPEN_FILE))
  const [left, right] = [Buffer.allocUnsafe(CHUNK_BYTES), Buffer.allocUnsafe(CHUNK_BYTES)]
  for (;;) {
    const [inA, inB] = [fill(a.fd, left), fill(b.fd, right)]
    if (inA !== inB || left.compare(right, 0, inB, 0, inA) !== 0) return false
    if (inA < CHUNK_BYTES) return true
  }
}

function fill(fd: number, into: Buffer): number {
  let filled = 0
  while (filled < into.length) {
    const count = readSync(fd, into, filled, into.length - filled, null)
    if (count === 0) break
    filled += count
  }
  return filled
}

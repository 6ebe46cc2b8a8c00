/** Reading and recording runs of plain members with the addon. */
import { ChunkPool } from '../tar/chunk-pool.ts'
import { AT, MEMBER_WORDS, PlainRun, type ReadRun } from '../tar/plain-run.ts'
import type { SplitLines } from '../tar/tar-split.ts'
import { binding } from './binding.ts'

/** A chunk has no more headers than this; nor is a run of names longer. */
const MAX_MEMBERS = 8192
const NAME_BYTES = 1024 * 1024
/** Fewer are read as fast one by one. */
const MIN_MEMBERS = 4

/** A reader with memory of its own, for one archive. */
export function runReader(): ReadRun {
  const members = new Uint32Array(MAX_MEMBERS * MEMBER_WORDS)
  const names = Buffer.allocUnsafeSlow(NAME_BYTES)
  return (bytes, at, end, base) => {
    const [count, nameBytes, stop] = binding.tarRun(bytes.subarray(0, end), at, members, names)
    if (count < MIN_MEMBERS) return undefined
    return new PlainRun({ bytes, base, count, members, names: names.subarray(0, nameBytes), end: stop })
  }
}

/** What the two lines of a member have but its names and bytes, at most: native/tar_split.cc counts alike. */
const FIXED_BYTES = 200

/** A writer of lines with memory of its own, for one archive: see `TarSplitWriter`. */
export function lineWriter(): SplitLines {
  const pool = new ChunkPool()
  return async (run, first, previousEnd, position) => {
    const members = run.members.subarray(first * MEMBER_WORDS, run.count * MEMBER_WORDS)
    const out = pool.take(boundOf(members, previousEnd))
    const release = (): void => {
      pool.release(out)
    }
    try {
      const size = await binding.tarSplitLines(run.bytes, members, run.names, previousEnd, position, out)
      return { bytes: out.subarray(0, size), release }
    } catch (error) {
      release()
      throw error
    }
  }
}

function boundOf(members: Uint32Array, previousEnd: number): number {
  let bound = 0
  let end = previousEnd
  for (let at = 0; at < members.length; at += MEMBER_WORDS) {
    const bodyStart = members[at + AT.bodyStart] as number
    bound += FIXED_BYTES + (members[at + AT.nameLength] as number) + 4 * Math.ceil((bodyStart - end) / 3)
    end = bodyStart + (members[at + AT.size] as number)
  }
  return bound
}

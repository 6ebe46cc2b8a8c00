/** Reading runs of plain members with the addon. */
import { MEMBER_WORDS, PlainRun, type ReadRun } from '../tar/plain-run.ts'
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

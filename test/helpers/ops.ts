import type { FileOp } from '../../lib/native/file-op.ts'
import { OpWriter } from '../../lib/native/op-writer.ts'

/** The code of operations without data, in base64, for programs that have the addon alone. */
export function encoded(...ops: readonly FileOp[]): string {
  const writer = new OpWriter()
  for (const op of ops) writer.add(op)
  return Buffer.from(writer.code).toString('base64')
}

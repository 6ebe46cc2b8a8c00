/** Streams as tests want them. */
import type { Change } from '../driver/driver.ts'

/** `bytes` as a stream, in chunks of `size` bytes. */
export async function* streamOf(bytes: Buffer, size = 65_536): AsyncGenerator<Buffer> {
  await Promise.resolve()
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** All bytes of a stream. */
export async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Changes as `docker diff` prints them. */
export async function listed(changes: AsyncIterable<Change>): Promise<string[]> {
  const lines: string[] = []
  for await (const { kind, path } of changes) lines.push(`${kind} ${path.toString()}`)
  return lines
}

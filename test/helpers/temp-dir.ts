/** Temporary folders that go when the test does. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TempDir extends Disposable {
  readonly path: string
}

/** A new empty folder below the system's temporary one, removed with all it holds when disposed. */
export function tempDir(prefix = 'test'): TempDir {
  const path = mkdtempSync(join(tmpdir(), `overlaid-${prefix}-`))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** Temporary folders that go when the test does. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TempDir extends Disposable {
  readonly path: string
}

/** A new empty folder below the system's temporary one, removed with all it holds when disposed. */
export function tempDir(prefix = 'test'): TempDir {
  const path = mkdtempSync(join(tmpdir(), `overlaid-${prefix}-`))
  // rm(1), since fs.rm cannot remove what lies deeper than PATH_MAX.
  return { path, [Symbol.dispose]: () => void execFileSync('rm', ['-rf', '--', path]) }
}

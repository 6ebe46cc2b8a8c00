/** Pools in files: mounted in a temporary folder, destroyed at the end. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MIB } from './sizes.ts'

export interface Pool extends Disposable {
  readonly name: string
  /** Where its root dataset is mounted. */
  readonly dir: string
  /** Makes a dataset right below the root one; the folder that it is mounted at. */
  dataset(name: string): string
}

/** Runs a command of ZFS; its stdout. */
export function command(program: 'zfs' | 'zpool', ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The names of all datasets and snapshots below `parent`, without that prefix. */
export function datasetsBelow(parent: string): string[] {
  const names = command('zfs', 'list', '-H', '-r', '-t', 'all', '-o', 'name', parent).trim().split('\n')
  return names.slice(1).map((name) => name.slice(parent.length + 1))
}

export function property(dataset: string, name: string): string {
  return command('zfs', 'get', '-Hp', '-o', 'value', name, dataset).trim()
}

let count = 0

export function makePool(size: number = 768 * MIB, called?: string): Pool {
  const top = mkdtempSync(join(tmpdir(), 'overlaid-zfs-'))
  const [dir, image] = [join(top, 'fs'), join(top, 'image')]
  const name = called ?? `overlaid-${String(process.pid)}-${String(count++)}`
  writeFileSync(image, '')
  truncateSync(image, size)
  command('zpool', 'create', '-o', 'cachefile=none', '-m', dir, name, image)
  return {
    name,
    dir,
    dataset: (below) => {
      command('zfs', 'create', `${name}/${below}`)
      return join(dir, below)
    },
    [Symbol.dispose]: () => {
      command('zpool', 'destroy', '-f', name)
      rmSync(top, { recursive: true })
    },
  }
}

/** A container whose upper directory holds a workload's files. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Build } from './builds.ts'
import { chainArchive } from './chain.ts'
import { task } from './run.ts'

export interface Upper {
  readonly root: string
  /** The files, and nothing of overlayfs' own. */
  readonly dir: string
}

/**
 * Makes the container `bench` in a store below `dir`. The files are put into its upper directory as they are, not
 * through a mount: no marks of the kernel's are in what tar sees there.
 */
export function upperWith(build: Build, dir: string, tar: string): Upper {
  const root = join(dir, 'root')
  const { upperdir } = task<{ upperdir: string }>(build, 'upper', { root, archive: chainArchive(dir, 1) })
  unpack(tar, upperdir)
  return { root, dir: upperdir }
}

/** Unpacks with GNU tar, and waits until nothing of it is left to be written: the clock starts on a quiet disk. */
export function unpack(tar: string, dir: string): void {
  mkdirSync(dir, { recursive: true })
  // Folders' times last: what bsdtar packs is in no order.
  const options = ['--xattrs', '--xattrs-include=*', '--numeric-owner', '--delay-directory-restore']
  execFileSync('tar', ['-xpf', tar, ...options, '-C', dir])
  execFileSync('sync', ['--file-system', dir])
}

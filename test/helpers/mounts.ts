/**
 * Leak checks: after each test no mount is left below its folders, no loop device of an image there, and no file
 * descriptor that was not open before.
 */
import { execFileSync } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, expect } from 'vitest'
import { mountsBelow, openFiles } from '../../lib/driver-suite/leaks.ts'

/** Loop devices whose backing file is below `dir`. */
export function loopsBelow(dir: string): string[] {
  const lines = execFileSync('losetup', ['-n', '-O', 'NAME,BACK-FILE'], { encoding: 'utf8' }).split('\n')
  return lines.filter((line) => line.includes(` ${dir}/`))
}

/** A mount that was put with durability none ends by and by; what leaks stays. */
const MAX_LOOKS = 100
const PAUSE_MS = 10

const unfinished = new Set<() => Promise<void>>()

/** What goes on behind the caller's back and has files open; the check for leaks waits for it, once. */
export function finishBeforeLeakCheck(wait: () => Promise<void>): void {
  unfinished.add(wait)
}

/**
 * Registers the checks for a file's tests; `roots` are asked after each test. vitest runs afterEach hooks in reverse:
 * call this before the hooks that clean up, so that it looks after them.
 */
export function watchLeaks(roots: () => readonly string[]): void {
  let before: string[] = []
  beforeEach(() => {
    before = openFiles()
  })
  afterEach(async () => {
    const waits = [...unfinished]
    unfinished.clear()
    for (const wait of waits) await wait()
    const files = () => openFiles().filter((line) => !before.includes(line))
    for (let i = 0; i < MAX_LOOKS && files().some(isDetachedMount); i++) await pause(PAUSE_MS)
    const left = roots().flatMap((root) => [...submounts(root), ...loopsBelow(root)])
    expect(left, 'mounts and loop devices left').toEqual([])
    expect(files(), 'file descriptors left').toEqual([])
  })
}

function isDetachedMount(line: string): boolean {
  return line.endsWith(' /')
}

/** Mounts below `root`, not the file system the test itself put there. */
function submounts(root: string): string[] {
  return mountsBelow(root).filter((path) => path !== root)
}

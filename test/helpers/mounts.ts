/**
 * Leak checks: after each test no mount is left below its folders, no loop device of an image there, and no file
 * descriptor that was not open before.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { afterEach, beforeEach, expect } from 'vitest'

/** Mount points of this process's namespace at or below `dir`, unescaped. */
export function mountsBelow(dir: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ')[4] ?? '')
    .map((escaped) =>
      escaped.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))),
    )
    .map((latin1) => Buffer.from(latin1, 'latin1').toString())
    .filter((path) => path === dir || path.startsWith(`${dir}/`))
}

/** Loop devices whose backing file is below `dir`. */
export function loopsBelow(dir: string): string[] {
  const lines = execFileSync('losetup', ['-n', '-O', 'NAME,BACK-FILE'], { encoding: 'utf8' }).split('\n')
  return lines.filter((line) => line.includes(` ${dir}/`))
}

/** Open descriptors that refer to files or mounts, as `number target`; node's own pipes and epolls are left out. */
export function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    const target = linkOf(fd)
    return target !== undefined && isOurs(target) ? [`${fd} ${target}`] : []
  })
}

function linkOf(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    // ENOENT: the descriptor that read the folder itself is closed by now.
    return undefined
  }
}

/** Node opens modules, /dev/null and /proc as it likes; what a test leaks is in a temporary folder or detached. */
function isOurs(target: string): boolean {
  return (
    target === '/' ||
    target.startsWith('/tmp/') ||
    target.startsWith('anon_inode:[fs') ||
    target === '/ (deleted)'
  )
}

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
    const left = roots().flatMap((root) => [...submounts(root), ...loopsBelow(root)])
    expect(left, 'mounts and loop devices left').toEqual([])
    expect(
      openFiles().filter((line) => !before.includes(line)),
      'file descriptors left',
    ).toEqual([])
  })
}

/** Mounts below `root`, not the file system the test itself put there. */
function submounts(root: string): string[] {
  return mountsBelow(root).filter((path) => path !== root)
}

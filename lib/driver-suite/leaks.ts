/** What a driver may leave behind: mounts below its home, and open files. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

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

/**
 * Open descriptors that refer to what is below one of `roots` or to mounts, as `number target`; node's own pipes and
 * epolls, and what it reads of modules and of /proc, are left out.
 */
export function openFiles(roots: readonly string[] = ['/tmp']): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    const target = linkOf(fd)
    return target !== undefined && isOurs(target, roots) ? [`${fd} ${target}`] : []
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

function isOurs(target: string, roots: readonly string[]): boolean {
  return (
    target === '/' ||
    target === '/ (deleted)' ||
    target.startsWith('anon_inode:[fs') ||
    roots.some((root) => target === root || target.startsWith(`${root}/`))
  )
}

/** Asserts that nothing is mounted below `home`, and no file of it open that is not among `before`. */
export function expectNothingLeft(home: string, before: readonly string[]): void {
  assert.deepEqual(mountsBelow(home), [], 'mounts left below the home')
  const opened = openFiles([home]).filter((line) => !before.includes(line))
  assert.deepEqual(opened, [], 'file descriptors left open')
}

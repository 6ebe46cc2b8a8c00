/** The fuse-overlayfs processes that serve mounts of a home. */
import { readdirSync, readFileSync } from 'node:fs'
import { vi } from 'vitest'

/** Pids of those that were started for a mount below `dir`. */
export function serversBelow(dir: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const [program = '', ...args] = argvOf(pid)
      return program.endsWith('/fuse-overlayfs') && args.some((arg) => arg.startsWith(`${dir}/`))
    })
}

/** Our children that have ended and that nobody has waited for. */
function zombies(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isZombie(name))
}

function isZombie(pid: string): boolean {
  const [, state, parent] = / \(fuse-overlayfs\) (.) (\d+)/.exec(statOf(pid)) ?? []
  return state === 'Z' && parent === String(process.pid)
}

function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    // ENOENT, ESRCH: it ended while we looked.
    return ''
  }
}

function argvOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8').split('\0')
  } catch {
    // ENOENT, ESRCH: it ended while we looked.
    return []
  }
}

/** Waits until all of them have ended: the kernel tells them of an unmount a moment after it is done. */
export async function serversEnded(dir: string): Promise<void> {
  await vi.waitFor(
    () => {
      const left = serversBelow(dir)
      if (left.length > 0) throw new Error(`processes left: ${left.join(', ')}`)
      if (zombies().length > 0) throw new Error(`zombies left: ${zombies().join(', ')}`)
    },
    { timeout: 10_000, interval: 5 },
  )
}

/** Kills the server of the only mount below `dir`, and waits for its end. */
export async function killServer(dir: string): Promise<void> {
  const [pid, ...rest] = serversBelow(dir)
  if (pid === undefined || rest.length > 0)
    throw new Error(`not one server but ${String(rest.length)} and ${String(pid)}`)
  process.kill(pid, 'SIGKILL')
  await serversEnded(dir)
}

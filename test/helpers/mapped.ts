/** What tests of id-mapped layers have in common. */
import { execFileSync } from 'node:child_process'
import { lstatSync } from 'node:fs'
import { type IDMap, openUserNamespace } from '../../lib/driver/id-map.ts'
import { rawTar } from './rawtar.ts'

export const RANGES = [{ container: 0, host: 100_000, size: 65_536 }]
export const MAP: IDMap = { uid: RANGES, gid: RANGES }

/** A base layer with files of root's and of another's. */
export const OWNED_TAR: Buffer = rawTar([
  { name: 'bin/', mode: 0o755 },
  { name: 'bin/sh', body: '#!shell', mode: 0o755 },
  { name: 'home/', uid: 1000, gid: 1000 },
  { name: 'home/file', body: 'mine', uid: 1000, gid: 1001 },
  { name: 'gone', body: 'x' },
])

/** Uid and gid. */
export function owner(path: string): string {
  const { uid, gid } = lstatSync(path)
  return `${String(uid)}:${String(gid)}`
}

/** Runs `script` as root of the user namespace that {@link MAP} is for, in the mounted root. */
export async function insideMapped(merged: string, script: string): Promise<string> {
  using userns = await openUserNamespace(MAP)
  const enter = [`--user=/proc/${String(process.pid)}/fd/${String(userns.fd)}`, '--setuid=0', '--setgid=0']
  // By the working directory: the way there is closed to it.
  return execFileSync('nsenter', [...enter, 'sh', '-c', script], { cwd: merged, encoding: 'utf8' })
}

import { readFile } from 'node:fs/promises'

/** This boot's id: what is true of mounts, locks and processes is true until it changes. See proc(5). */
export async function bootID(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
}

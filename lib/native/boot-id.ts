import { readFileSync } from 'node:fs'

let known: string | undefined

/** This boot's id: what is true of mounts, locks and processes is true until it changes. See proc(5). */
export function bootID(): string {
  known ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return known
}

/** What a process must be allowed to do, asked before it is tried half-way. */
import { readFileSync } from 'node:fs'
import { OverlaidError } from '../errors.ts'

/** Capabilities by their bit in linux/capability.h. */
const CAPABILITIES = {
  CAP_CHOWN: 0,
  CAP_DAC_OVERRIDE: 1,
  CAP_FOWNER: 3,
  CAP_FSETID: 4,
  CAP_SYS_ADMIN: 21,
  CAP_MKNOD: 27,
  CAP_SETFCAP: 31,
} as const

type Capability = keyof typeof CAPABILITIES

/** @throws ERR_NO_PRIVILEGE naming the capabilities that are missing for writing to a store */
export function requireWriting(): void {
  const missing = missingOf(Object.keys(CAPABILITIES) as Capability[])
  if (missing.length === 0) return
  throw new OverlaidError('ERR_NO_PRIVILEGE', `writing to a store needs ${missing.join(', ')}`, {
    hint: 'mounts, device nodes, owners and trusted xattrs take root: run it as root, or open the store read-only',
  })
}

/**
 * The kernel does not refuse to show overlayfs' marks (opaque, redirect), it hides them: a layer would look as if
 * it had none. It asks for the capability in the initial user namespace (capable(), fs/xattr.c), so root of
 * another one does not see them either.
 *
 * @throws ERR_NO_PRIVILEGE
 */
export function requireTrustedXattrs(): void {
  const isInitial = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'))
  if (isInitial && missingOf(['CAP_SYS_ADMIN']).length === 0) return
  throw new OverlaidError('ERR_NO_PRIVILEGE', 'comparing a layer with what is below it needs CAP_SYS_ADMIN', {
    hint: 'overlayfs marks what a layer hides in trusted xattrs, which only root of the initial user namespace sees',
  })
}

function missingOf(names: readonly Capability[]): Capability[] {
  const status = readFileSync('/proc/self/status', 'latin1')
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  return names.filter((name) => (effective & (1n << BigInt(CAPABILITIES[name]))) === 0n)
}

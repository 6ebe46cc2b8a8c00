/** The file system on a layer's device, mounted to be read and to stay as it is. */
import { readSync } from 'node:fs'
import { hasCode, OverlaidError } from '../../errors.ts'
import { binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { MOUNT_ATTR } from '../../native/flags.ts'

interface Kind {
  readonly type: string
  readonly at: number
  readonly magic: Buffer
  /** Without the journal's replay, which would write. */
  readonly options: readonly string[]
}

/** Those that Docker made (dm.fs). All layers of a root have one UUID. */
const KINDS: readonly Kind[] = [
  { type: 'ext4', at: 1024 + 0x38, magic: Buffer.from([0x53, 0xef]), options: ['ro', 'noload'] },
  { type: 'xfs', at: 0, magic: Buffer.from('XFSB'), options: ['ro', 'norecovery', 'nouuid'] },
]

const ATTRIBUTES =
  MOUNT_ATTR.MOUNT_ATTR_RDONLY |
  MOUNT_ATTR.MOUNT_ATTR_NOSUID |
  MOUNT_ATTR.MOUNT_ATTR_NODEV |
  MOUNT_ATTR.MOUNT_ATTR_NOEXEC

/** Mounts the block device `fd`, in no mount table: gone with the descriptor. @throws ERR_DAMAGED */
export async function mountReadOnly(fd: number, what: string): Promise<OwnedFd> {
  const start = Buffer.alloc(2048)
  readSync(fd, start, 0, start.length, 0)
  const kind = KINDS.find(({ at, magic }) => start.subarray(at, at + magic.length).equals(magic))
  if (kind === undefined) throw new OverlaidError('ERR_DAMAGED', `${what} has neither ext4 nor XFS on it`)
  const parameters = [
    { key: 'source', value: `/proc/self/fd/${String(fd)}` },
    ...kind.options.map((key) => ({ key })),
  ]
  try {
    const mount = await binding.fsmountConfigured(kind.type, '/', parameters, ATTRIBUTES)
    return new OwnedFd(mount.fd)
  } catch (cause) {
    throw refusal(cause, kind.type, what)
  }
}

/** What stands in the way of any mount stays as it is; all else is about this file system. */
function refusal(cause: unknown, type: string, what: string): unknown {
  if (hasCode(cause, 'EPERM', 'EACCES', 'ENOMEM', 'ENOSPC')) return cause
  if (hasCode(cause, 'ENODEV')) {
    const text = `${what} has ${type} on it, which this kernel does not have`
    return new OverlaidError('ERR_UNSUPPORTED_KERNEL', text, { hint: `modprobe ${type}`, cause })
  }
  const reason = cause instanceof Error ? cause.message : String(cause)
  const text = `${what} cannot be mounted as ${type}: ${reason}`
  return new OverlaidError('ERR_DAMAGED', text, { hint: 'dmesg says what is wrong', cause })
}

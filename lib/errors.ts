/**
 * Every error overlaid throws: one class for what the store finds, one for what the kernel refuses, one table
 * that says what each code means and which exit status the command gives it.
 */

/** Exit statuses of the command. 128 + n is added for signal n. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  inUse: 4,
  unsupported: 5,
  damaged: 6,
} as const

/**
 * Domain codes, grouped by when one can meet them; `exit` is a key of {@link EXIT}. A system call's failure carries
 * its errno name instead.
 */
export const CODES = {
  // Naming things
  ERR_INVALID_ARGUMENT: { exit: 'usage', meaning: 'an argument or option has no meaning here' },
  ERR_INVALID_REFERENCE: { exit: 'usage', meaning: 'not a well-formed image reference, id or digest' },
  ERR_IMAGE_NOT_FOUND: { exit: 'notFound', meaning: 'no image has this reference or id' },
  ERR_LAYER_NOT_FOUND: { exit: 'notFound', meaning: 'no layer has this chainID or cacheID' },
  ERR_CONTAINER_NOT_FOUND: { exit: 'notFound', meaning: 'no container has this name or id' },
  ERR_MOUNT_NOT_FOUND: { exit: 'notFound', meaning: 'nothing is mounted there that overlaid made' },
  ERR_AMBIGUOUS_ID: { exit: 'usage', meaning: 'a shortened id matches more than one object' },

  // Using the store
  ERR_IN_USE: { exit: 'inUse', meaning: 'a container, image, layer or mount still needs it' },
  ERR_ALREADY_EXISTS: { exit: 'inUse', meaning: 'the name is taken' },
  ERR_STORE_LOCKED: { exit: 'inUse', meaning: 'a running dockerd or another process holds the data root' },
  ERR_STORE_VERSION: { exit: 'unsupported', meaning: 'the store was written by a newer overlaid' },
  ERR_STORE_CLOSED: { exit: 'failed', meaning: 'the store object was used after close()' },
  ERR_DRIVER_MISMATCH: { exit: 'unsupported', meaning: 'the data root belongs to another storage driver' },

  // What this machine can do
  ERR_UNSUPPORTED_KERNEL: { exit: 'unsupported', meaning: 'the running kernel lacks a needed feature' },
  ERR_UNSUPPORTED_FS: { exit: 'unsupported', meaning: 'the backing file system cannot carry the driver' },
  ERR_UNSUPPORTED_PLATFORM: { exit: 'unsupported', meaning: 'the image is for other platforms only' },
  ERR_NO_PRIVILEGE: { exit: 'unsupported', meaning: 'the process lacks a privilege, the message says which' },
  ERR_NO_BINDING: { exit: 'unsupported', meaning: 'the native addon could not be loaded' },
  ERR_CHAIN_TOO_DEEP: { exit: 'unsupported', meaning: 'more layers than the kernel or the driver can stack' },
  ERR_MOUNT_MISMATCH: {
    exit: 'failed',
    meaning: 'the kernel mounted something other than what was asked; it was unmounted again',
  },
  ERR_NO_PROGRAM: { exit: 'unsupported', meaning: 'a program that the driver needs is not installed' },
  ERR_MOUNT_FAILED: {
    exit: 'failed',
    meaning: 'the program that makes the mounts made none; the message has its words',
  },
  ERR_ZFS: { exit: 'failed', meaning: 'the command zfs refused or failed; the message has its words' },
  ERR_DEAD_MOUNT: {
    exit: 'failed',
    meaning: 'the process that served the mount has died; unmount it by force',
  },

  // Input that is wrong
  ERR_BAD_TAR: { exit: 'damaged', meaning: 'the archive is truncated, corrupt or not a tar' },
  ERR_BAD_COMPRESSION: { exit: 'damaged', meaning: 'the compressed stream is truncated or corrupt' },
  ERR_UNSAFE_PATH: { exit: 'damaged', meaning: 'an archive entry reaches outside its layer' },
  ERR_LIMIT_EXCEEDED: { exit: 'damaged', meaning: 'an archive passes a size, count or depth limit' },
  ERR_BAD_MANIFEST: { exit: 'damaged', meaning: 'a manifest, index or image config does not have its form' },
  ERR_UNSUPPORTED_MEDIA_TYPE: { exit: 'damaged', meaning: 'a media type this version does not read' },
  ERR_DIGEST_MISMATCH: { exit: 'damaged', meaning: 'bytes do not have the digest they are named by' },
  ERR_SIZE_MISMATCH: { exit: 'damaged', meaning: 'bytes do not have the size they are described by' },

  // Registries
  ERR_UNREACHABLE: {
    exit: 'failed',
    meaning: 'no connection, or it broke off and trying again did not help',
  },
  ERR_UNAUTHORIZED: { exit: 'failed', meaning: 'the registry wants credentials, or others than these' },
  ERR_REGISTRY: { exit: 'failed', meaning: 'the registry refused or failed; the details are its own words' },

  // State that is wrong
  ERR_VOLATILE_LOST: {
    exit: 'damaged',
    meaning: 'a volatile mount did not survive a restart of the machine: its content may be incomplete',
  },
  ERR_DAMAGED: { exit: 'damaged', meaning: 'the store is damaged here; `overlaid check` tells more' },
} as const

export type ErrorCode = keyof typeof CODES

/** What an {@link OverlaidError} knows beside its code and message. */
export interface ErrorFacts {
  readonly path?: string
  readonly dest?: string
  /** What the user can do about it, in mount words. */
  readonly hint?: string
  readonly detail?: readonly string[]
  readonly cause?: unknown
}

/** Marks errors of whichever copy of the package; defined unenumerable, so that no printer shows it. */
const brand: symbol = Symbol.for('overlaid.error')

/** An error that overlaid itself found. `code` is a key of {@link CODES}. */
export class OverlaidError extends Error {
  override readonly name: string = 'OverlaidError'
  readonly code: string
  declare readonly path?: string
  declare readonly dest?: string
  declare readonly hint?: string
  declare readonly detail?: readonly string[]

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = code
    assignFacts(this, facts)
  }
}

/** What the binding reports of a failed system call: Node's own field names plus flags, detail and hint. */
export interface SyscallFacts extends ErrorFacts {
  /** The errno's name, for example `EBUSY`. */
  readonly code: string
  /** The negative errno, as in Node's fs errors. */
  readonly errno: number
  readonly syscall: string
  /** Symbolic flags the call was made with. */
  readonly flags?: readonly string[]
}

/** A system call failed. `code`, `errno`, `syscall`, `path` and `dest` are as in Node's own fs errors. */
export class SyscallError extends Error {
  override readonly name: string = 'SyscallError'
  readonly code: string
  readonly errno: number
  readonly syscall: string
  declare readonly path?: string
  declare readonly dest?: string
  declare readonly flags?: readonly string[]
  declare readonly detail?: readonly string[]
  declare readonly hint?: string

  constructor(message: string, facts: SyscallFacts) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = facts.code
    this.errno = facts.errno
    this.syscall = facts.syscall
    if (facts.flags !== undefined) this.flags = facts.flags
    assignFacts(this, facts)
  }
}

function assignFacts(target: object, facts: ErrorFacts): void {
  Object.defineProperty(target, brand, { value: true })
  for (const key of ['path', 'dest', 'hint', 'detail'] as const) {
    if (facts[key] !== undefined) Object.assign(target, { [key]: facts[key] })
  }
}

/** Whether `error` came from overlaid, of whichever copy of the package. */
export function isOverlaidError(error: unknown): error is OverlaidError | SyscallError {
  return typeof error === 'object' && error !== null && brand in error
}

/** Whether `error` carries this code: a key of {@link CODES} or an errno name such as `ENOENT`. */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return (
    typeof error === 'object' && error !== null && codes.includes((error as { code?: string }).code ?? '')
  )
}

/** errno names that say "this machine can't" rather than "this operation failed". */
const MACHINE_ERRNOS: ReadonlySet<string> = new Set([
  'EPERM',
  'EACCES',
  'ENOSYS',
  'ENODEV',
  'EOPNOTSUPP',
  'ENOTSUP',
])

/** The command's exit status for `error`. */
export function exitStatus(error: unknown): number {
  const code = (error as { code?: string } | null)?.code ?? ''
  if (code in CODES) return EXIT[CODES[code as ErrorCode].exit]
  return MACHINE_ERRNOS.has(code) ? EXIT.unsupported : EXIT.failed
}

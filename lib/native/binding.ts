/**
 * The typed face of the addon, and the only file that knows a .node file exists.
 *
 * Each function has exactly its system call's name and does exactly one; the TypeScript above it has the human
 * names. Paths go in as strings or bytes and names come out as Buffers, since Linux names are bytes. File
 * descriptors are plain numbers, always O_CLOEXEC, and belong to whoever asked for them: close with
 * {@link OwnedFd} or `fs.closeSync`. Every call rejects with a {@link SyscallError}; an argument of the wrong
 * type throws a TypeError at once. Buffers handed in must not be changed until the promise is settled.
 *
 * The addon is loaded at the first use of {@link binding} and not before, so that what needs no system call of
 * its own works where there is no build of it.
 */
import { fileURLToPath } from 'node:url'
import nodeGypBuild from 'node-gyp-build'

import { OverlaidError } from '../errors.ts'
import type { Binding } from './calls.ts'
import { toSyscallError } from './syscall-error.ts'

export type * from './block-calls.ts'
export type * from './btrfs-calls.ts'
export type * from './calls.ts'

/** AT_FDCWD: a relative path is taken from the working directory. */
export const AT_FDCWD = -100

/** Functions of the addon that are not promises. */
const SYNCHRONOUS: ReadonlySet<string> = new Set([
  'cancel',
  'crc64',
  'hasCodecs',
  'hasQuotactlFd',
  'newCancellation',
  'openCodec',
  'setOpenat2',
  'sumsNew',
  'sumsDigest',
  'tarRun',
  'walkStart',
  'walkEnd',
  'withoutCapability',
])

let loaded: Binding | undefined

/**
 * The addon's functions; the first use of one loads it.
 * @throws ERR_NO_BINDING at that use, where no build fits this machine; the message says how to make one.
 */
export const binding: Binding = new Proxy({} as Binding, {
  get: (_target, name): unknown => {
    loaded ??= wrap(load())
    return Reflect.get(loaded, name)
  },
})

type RawFunction = (...args: unknown[]) => unknown

function load(): Record<string, RawFunction> {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  try {
    return nodeGypBuild(root) as Record<string, RawFunction>
  } catch (cause) {
    const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
    const libc = report.header?.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
    throw new OverlaidError(
      'ERR_NO_BINDING',
      `overlaid's native addon has no build for ${process.platform}-${process.arch} (${libc}, Node ${process.version})`,
      {
        cause,
        path: root,
        hint: `build it: npm run build:native in ${root} (needs a C++20 compiler, make and python3)`,
      },
    )
  }
}

/** Gives every promise of the addon the errors of this library. */
function wrap(raw: Record<string, RawFunction>): Binding {
  const wrapped: Record<string, RawFunction> = {}
  for (const [name, call] of Object.entries(raw)) {
    wrapped[name] = SYNCHRONOUS.has(name) ? call : (...args) => settle(call(...args))
  }
  return wrapped as unknown as Binding
}

/** Awaits here, so that the error is made where V8 knows the callers that wait for it. */
async function settle(promise: unknown): Promise<unknown> {
  try {
    return await promise
  } catch (error) {
    throw toSyscallError(error)
  }
}

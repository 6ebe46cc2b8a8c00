/**
 * An overlay mount's options, from what a caller may ask for and what is pinned.
 *
 * Pinned on every mount, so that the upper directory always is the diff, whatever the module's defaults:
 * - `index=off`: hard links break on copy-up, as everywhere else that docker runs, and a layer can be moved;
 * - `redirect_dir=nofollow`: renaming a folder of a lower is EXDEV, and the program copies it;
 * - `metacopy=off`: a file in the upper has its content.
 *
 * Escaping, as the kernels from 5.10 to 7.3 read it:
 *
 *     name has   mount(2) lowerdir=   mount(2) upper/work   fsconfig lowerdir+   fsconfig upper/work
 *     :          \:                   as it is              as it is             as it is
 *     ,          \,                   \,                    as it is             as it is
 *     \          \\                   \\                    as it is             \\
 *
 * By descriptor nothing is escaped at all.
 */
import { OverlaidError } from '../../errors.ts'
import type { Bytes } from '../../native/binding.ts'
import type { MountOptions } from '../driver.ts'

/** OVL_MAX_STACK of fs/overlayfs/params.h: the kernel refuses more, 5.10 with ENOMEM. */
export const MAX_LOWERS = 500

/** With names of 28 bytes (see layout.ts) the most that surely fits {@link MAX_OPTION_BYTES}; docker's limit too. */
export const MAX_LOWERS_MOUNT2 = 128

/** mount(2) copies one page, the last byte of which becomes NUL, and cuts the rest off without an error. */
export const MAX_OPTION_BYTES = 4095

/** fsconfig(2) reads a string value of at most 255 bytes and a NUL; 256 are EINVAL, with nothing in the log. */
export const MAX_VALUE_BYTES = 255

/** One option: a flag, or a key with its value. */
export type MountOption = readonly [key: string, value?: string]

/**
 * The options beside the layers, in the kernel's words.
 * @throws ERR_INVALID_ARGUMENT for a combination that the kernel would refuse with a bare EINVAL, or ignore.
 */
export function overlayOptions(options: MountOptions, hasUpper: boolean): MountOption[] {
  refuseContradictions(options, hasUpper)
  const redirects = options.redirectDir === true || options.metacopy === true
  const list: MountOption[] = [
    ['index', 'off'],
    ['redirect_dir', redirects ? 'on' : 'nofollow'],
    ['metacopy', options.metacopy === true ? 'on' : 'off'],
  ]
  if (options.xino !== undefined) list.push(['xino', options.xino])
  if (options.userxattr === true) list.push(['userxattr'])
  if (options.volatile === true) list.push(['volatile'])
  if (options.context !== undefined) list.push(['context', options.context])
  return list
}

function refuseContradictions(options: MountOptions, hasUpper: boolean): void {
  const refuse = (words: string, hint: string): never => {
    throw new OverlaidError('ERR_INVALID_ARGUMENT', words, { hint })
  }
  if (options.userxattr === true && options.metacopy === true) {
    refuse('userxattr and metacopy exclude each other', 'metacopy needs trusted.* attributes')
  }
  if (options.userxattr === true && options.redirectDir === true) {
    refuse('userxattr and redirectDir exclude each other', 'redirects need trusted.* attributes')
  }
  if (options.metacopy === true && options.redirectDir === false) {
    refuse('metacopy needs redirectDir', 'a metadata copy finds its data by a redirect once it is renamed')
  }
  if (options.volatile === true && !hasUpper) {
    refuse('volatile has no meaning for a read-only mount', 'leave out volatile or readOnly')
  }
  if (options.context?.includes('"') === true) {
    refuse('a SELinux context has no quotes', 'give it as ls -Z prints it')
  }
}

/** A layer's name for fsconfig's upperdir and workdir, which are un-escaped once. */
export function escapeValue(name: Bytes): Bytes {
  return typeof name === 'string' && !name.includes('\\') ? name : escape(name, '\\')
}

/** A name's bytes, which are not copied. */
export function toBytes(name: Bytes): Buffer {
  return typeof name === 'string'
    ? Buffer.from(name)
    : Buffer.from(name.buffer, name.byteOffset, name.byteLength)
}

/** Puts a backslash before each of `special`. */
function escape(name: Bytes, special: string): Buffer {
  const latin1 = toBytes(name).toString('latin1')
  const escaped = latin1.replace(/[\\:,]/g, (char) => (special.includes(char) ? `\\${char}` : char))
  return Buffer.from(escaped, 'latin1')
}

/** Directories of one overlay, top first, as they are named from the working directory of the call. */
export interface LayerNames {
  readonly lowers: readonly Bytes[]
  readonly upper?: Bytes
  readonly work?: Bytes
  readonly mapping?: Mapping
}

/** The ids of the lowers from `from` up to `to` are mapped. */
export interface Mapping {
  readonly usernsFd: number
  readonly from: number
  readonly to: number
}

/**
 * The option string for mount(2): upperdir and workdir first, so that they could not be what is cut off.
 * @throws ERR_CHAIN_TOO_DEEP when the kernel would cut it
 */
export function optionString(layers: LayerNames, options: readonly MountOption[]): Buffer {
  const parts: Buffer[] = []
  if (layers.upper !== undefined) parts.push(joinOption('upperdir', escape(layers.upper, '\\,')))
  if (layers.work !== undefined) parts.push(joinOption('workdir', escape(layers.work, '\\,')))
  for (const [key, value] of options) {
    if (value === undefined) parts.push(Buffer.from(key))
    // The security modules alone understand quotes, and their contexts have commas (s0:c1,c2).
    else parts.push(Buffer.from(key === 'context' ? `${key}="${value}"` : `${key}=${value}`))
  }
  parts.push(
    joinOption(
      'lowerdir',
      join(
        layers.lowers.map((lower) => escape(lower, '\\:,')),
        ':',
      ),
    ),
  )
  const string = join(parts, ',')
  if (string.length <= MAX_OPTION_BYTES) return string
  throw new OverlaidError(
    'ERR_CHAIN_TOO_DEEP',
    `${String(layers.lowers.length)} layers need ${String(string.length)} bytes of mount options, and mount(2) reads ${String(MAX_OPTION_BYTES)}`,
    { hint: 'Linux 6.8 and later mount up to 500 layers one by one' },
  )
}

function joinOption(key: string, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${key}=`), value])
}

function join(parts: readonly Buffer[], separator: string): Buffer {
  return Buffer.concat(parts.flatMap((part, i) => (i === 0 ? [part] : [Buffer.from(separator), part])))
}

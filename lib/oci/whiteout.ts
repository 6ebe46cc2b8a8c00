/**
 * How a layer's archive says that a name of the layers below is gone, and how overlayfs' upper directories do:
 *
 *     in the archive               on disk
 *     `<dir>/.wh.<name>`           `<dir>/<name>`, a character device 0:0
 *     `<dir>/.wh..wh..opq`         `<dir>` has the attribute `trusted.overlay.opaque` (`user.…`), value `y`
 *     `.wh..wh.<anything else>`    nothing: AUFS kept its own records there
 *
 * Both act on the layers below only, wherever in the archive they stand.
 *
 * @see https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
 */

const PREFIX = Buffer.from('.wh.')
const RESERVED = Buffer.from('.wh..wh.')

/** The archive's mark of a directory that hides what lower layers have in it. */
export const OPAQUE_MARK: Buffer = Buffer.from('.wh..wh..opq')

/** The attribute of such a directory, below `trusted.overlay.` or `user.overlay.`, and its value. */
export const OPAQUE_XATTR = 'opaque'
export const OPAQUE_VALUE: Buffer = Buffer.from('y')

/** What the last component of a member's name says. */
export type Whiteout =
  | { readonly kind: 'none' }
  | { readonly kind: 'opaque' }
  | { readonly kind: 'whiteout'; readonly name: Buffer }
  /** AUFS' own. */
  | { readonly kind: 'reserved' }
  /** `.wh.`, `.wh..`, `.wh...`: the whiteout of nothing, of the directory itself, of its parent. */
  | { readonly kind: 'invalid' }

const NONE: Whiteout = { kind: 'none' }

/** Reads one component of a member's name. */
export function parseWhiteout(component: Uint8Array): Whiteout {
  if (!startsWith(component, PREFIX)) return NONE
  if (startsWith(component, RESERVED)) return { kind: OPAQUE_MARK.equals(component) ? 'opaque' : 'reserved' }
  const name = Buffer.from(component.subarray(PREFIX.length))
  if (['', '.', '..'].includes(name.toString('latin1'))) return { kind: 'invalid' }
  return { kind: 'whiteout', name }
}

/** The archive's name for the whiteout of `name`. */
export function whiteoutName(name: Uint8Array): Buffer {
  return Buffer.concat([PREFIX, name])
}

function startsWith(bytes: Uint8Array, prefix: Buffer): boolean {
  return bytes.length >= prefix.length && prefix.equals(bytes.subarray(0, prefix.length))
}

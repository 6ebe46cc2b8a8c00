/** How an upper directory says on disk what of the layers below it hides. */
import { OPAQUE_XATTR } from '../../oci/whiteout.ts'

export interface Marks {
  /** Minor number of the character device, of major 0, that stands for a deleted name. */
  readonly whiteoutMinor: number
  /** The attribute of a directory that hides all there is below it; undefined where that is not kept on disk. */
  readonly opaqueXattr: string | undefined
}

/** overlayfs' own, as root writes them. */
export const OVERLAY_MARKS: Marks = { whiteoutMinor: 0, opaqueXattr: `trusted.overlay.${OPAQUE_XATTR}` }

/**
 * For drivers that keep no upper directories, or mark them in another way: what is unpacked is marked so until it
 * gets its place. On an overlay mount mknod(2) refuses 0:0, and attributes of overlayfs. Major 0 is for devices
 * without a driver (Documentation/admin-guide/devices.txt), so no archive has a use for such a node. XFS keeps 18 bits of a minor
 * number.
 */
export const PASSING_MARKS: Marks = { whiteoutMinor: 0x3ffff, opaqueXattr: undefined }

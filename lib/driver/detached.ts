/** Mounts that are in no mount table. */
import type { Detached } from '../native/mount.ts'
import type { DetachedMount } from './driver.ts'

/** A mount that lives as long as its descriptor. */
export function detached({ fd, mountID }: Detached): DetachedMount {
  return {
    fd,
    mountID,
    // The last descriptor's close is the unmount, which may take its time.
    [Symbol.asyncDispose]: () => fd.closeAsync(),
  }
}

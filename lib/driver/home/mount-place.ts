/** Where in a temporary folder of a home a program mounts what is to be a detached mount. */
import { join } from 'node:path'
import { mountIDAt, unmount } from '../../native/mount.ts'

/** In a staging or probe folder. */
export function mountPlace(folder: string): string {
  return join(folder, 'mount')
}

/** Unmounts what a crash left there: nothing could be removed with a mount in it. */
export async function unmountPlace(folder: string): Promise<void> {
  const place = mountPlace(folder)
  if ((await mountIDAt(place)) !== undefined) await unmount(place, { detach: true })
}

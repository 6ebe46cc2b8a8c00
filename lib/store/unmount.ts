/** `overlaid unmount`: whatever it is called. */
import { OverlaidError } from '../errors.ts'
import { findContainer } from './container-entry.ts'
import type { StoreContext } from './context.ts'
import { listSubjects, readHolds, here } from './hold.ts'
import type { EndOptions } from './hold-end.ts'
import { findImage } from './image-find.ts'
import { subjectOf } from './image-mount.ts'
import { unmountSubject } from './mounting.ts'
import { hasCode } from '../errors.ts'

/** Undoes mounts: at an absolute path, or all those of a container, or else of an image. */
export async function unmountAnything(store: StoreContext, what: string, options: EndOptions): Promise<void> {
  if (what.startsWith('/')) return unmountPath(store, what, options)
  const container = await unlessMissing(() => findContainer(store, what))
  if (container !== undefined) {
    const { id, name, mount } = container
    return unmountSubject(store, { name: id, label: `container ${name}`, driverID: mount.mountID }, options)
  }
  const image = await unlessMissing(() => findImage(store, what))
  if (image === undefined) {
    throw new OverlaidError('ERR_CONTAINER_NOT_FOUND', `no such container or image: ${what}`)
  }
  await unmountSubject(store, await subjectOf(store, image), options)
}

async function unmountPath(store: StoreContext, path: string, options: EndOptions): Promise<void> {
  const { namespace } = here()
  for (const name of await listSubjects(store.paths)) {
    for (const { content } of await readHolds(store.paths, name)) {
      if (content.path !== path || content.namespace !== namespace) continue
      return unmountSubject(store, { name, label: path, driverID: content.driverID }, { ...options, path })
    }
  }
  throw new OverlaidError('ERR_MOUNT_NOT_FOUND', `overlaid has nothing mounted at ${path}`, { path })
}

async function unlessMissing<T>(find: () => Promise<T>): Promise<T | undefined> {
  try {
    return await find()
  } catch (error) {
    if (hasCode(error, 'ERR_CONTAINER_NOT_FOUND', 'ERR_IMAGE_NOT_FOUND', 'ERR_INVALID_REFERENCE'))
      return undefined
    throw error
  }
}

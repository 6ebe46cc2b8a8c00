/** A container's changes become a layer, and an image on top of the one that the container was made from. */
import { applyChanges } from '../oci/change.ts'
import { commitConfig } from '../oci/derive.ts'
import type { Digest } from '../oci/digest.ts'
import { type ContainerEntry, expectContainer } from './container-entry.ts'
import type { CommitOptions } from './container.ts'
import type { StoreContext } from './context.ts'
import { deriveImage } from './derive-image.ts'
import { parseTag } from './image-name.ts'
import { readLayer } from './layer-db.ts'
import { withSubject } from './mounting.ts'
import { unpackLayer } from './unpack.ts'

/**
 * Commits; the new image's id is returned. The container may be mounted, and written to meanwhile: what a file had
 * at the moment it was read is what the layer has.
 */
export async function commitContainer(
  store: StoreContext,
  entry: ContainerEntry,
  ref: string | undefined,
  options: CommitOptions,
): Promise<Digest> {
  const { message: comment, author, changes = [], signal } = options
  const { id, name, mount, imageID } = entry
  const parentConfig = await entry.readConfig()
  const config = applyChanges(parentConfig.config ?? {}, changes)
  const tag = ref === undefined ? undefined : parseTag(ref)
  const withSignal = signal === undefined ? {} : { signal }
  const derive = async () => {
    expectContainer(store, entry)
    const parent = mount.parent === undefined ? undefined : await readLayer(store.paths, mount.parent)
    return deriveImage(store, {
      needs: mount.parent,
      parent,
      name: tag,
      parentImage: imageID,
      unpack: () => {
        const tar = store.driver.diff(mount.mountID, mount.initID, withSignal)
        return unpackLayer(store, tar, { what: `the changes of ${name}`, ...withSignal })
      },
      configBytes: (diffID) =>
        commitConfig(parentConfig, {
          diffID,
          created: new Date(),
          config,
          container: id,
          ...(author !== undefined && { author }),
          ...(comment !== undefined && { comment }),
        }),
      ...withSignal,
    })
  }
  // The lock keeps rm away; it is held for the unpack, since what is unpacked are the container's own folders.
  return withSubject(store, id, derive, signal)
}

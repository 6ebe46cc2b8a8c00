/** A root file system's tar becomes an image of one layer. */
import { applyChanges } from '../oci/change.ts'
import { importConfig } from '../oci/derive.ts'
import type { Digest } from '../oci/digest.ts'
import type { StoreContext } from './context.ts'
import { deriveImage } from './derive-image.ts'
import { parseTag } from './image-name.ts'
import type { ImportOptions } from './image-store.ts'
import { unpackLayer } from './unpack.ts'

/** Imports; the new image's id is returned. @throws ERR_BAD_TAR and others of wrong archives, ERR_INVALID_ARGUMENT */
export async function importImage(
  store: StoreContext,
  tar: AsyncIterable<Buffer>,
  ref: string,
  options: ImportOptions,
): Promise<Digest> {
  const { changes = [], message, limits, signal } = options
  const name = parseTag(ref)
  const config = applyChanges({}, changes)
  const comment = message ?? 'Imported from -'
  const what = 'the archive'
  return deriveImage(store, {
    needs: undefined,
    parent: undefined,
    name,
    unpack: () =>
      unpackLayer(store, tar, {
        what,
        ...(limits !== undefined && { limits }),
        ...(signal !== undefined && { signal }),
      }),
    configBytes: (diffID) => importConfig({ diffID, created: new Date(), config, comment }),
    ...(signal !== undefined && { signal }),
  })
}

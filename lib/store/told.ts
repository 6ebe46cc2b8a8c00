/** What one record tells of another: how a lost field is found again. */
import { chainIDs } from '../oci/chain-id.ts'
import type { ChainID, DiffID } from '../oci/digest.ts'
import type { Inventory } from './inventory.ts'

/** What a layer's name is the digest of. */
export interface Identity {
  readonly diffID: DiffID
  readonly parent: ChainID | undefined
}

/** What the configs of images, and those kept with containers, say of their layers. A name proves it or not. */
export function toldIdentities({ images, records }: Inventory): Map<ChainID, Identity> {
  const told = new Map<ChainID, Identity>()
  const tell = (diffIDs: readonly DiffID[]) => {
    const ids = chainIDs(diffIDs)
    for (const [index, diffID] of diffIDs.entries())
      told.set(ids[index] as ChainID, { diffID, parent: ids[index - 1] })
  }
  for (const { diffIDs = [] } of images) tell(diffIDs)
  for (const record of records.values()) tell(record === undefined ? [] : diffIDsOf(record.config))
  return told
}

/** The top layer of the image that a container was made from, by our record or by dockerd's and the image. */
export function toldParent({ records, docker, images }: Inventory, name: string): ChainID | undefined {
  const record = records.get(name)
  if (record !== undefined) return chainIDs(diffIDsOf(record.config)).at(-1)
  const imageID = docker.containers.find(({ id }) => id === name)?.imageID
  return chainIDs(images.find(({ id }) => id === imageID)?.diffIDs ?? []).at(-1)
}

/** The layers of a config that a container keeps as text. */
function diffIDsOf(config: string): readonly DiffID[] {
  try {
    return (JSON.parse(config) as { rootfs?: { diff_ids?: DiffID[] } }).rootfs?.diff_ids ?? []
  } catch {
    // SyntaxError: then it tells nothing.
    return []
  }
}

/** Making a container: an init layer and a writable layer on an image's layers, then the record that names them. */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { expectIDMap, type IDMap, parseRanges } from '../driver/id-map.ts'
import { hasCode, OverlaidError } from '../errors.ts'
import { failpoint } from '../fs/failpoint.ts'
import { binding } from '../native/binding.ts'
import type { CacheID } from '../oci/digest.ts'
import { type ContainerRecord, writeContainer } from './container-db.ts'
import { type ContainerEntry, entryOfRecord, listContainers } from './container-entry.ts'
import type { CreateOptions } from './container-store.ts'
import type { StoreContext } from './context.ts'
import { expectImage } from './image-db.ts'
import type { Image } from './image-store.ts'
import { fillInitLayer, isFilledUnmounted } from './init-layers.ts'
import { type Lease, takeLease } from './lease.ts'
import { expectLayers } from './reading-lease.ts'
import { sizeLimit, type StorageOptions } from './storage-options.ts'

/** Docker's rule for names. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/
const SHORT_ID_LENGTH = 12

interface Plan {
  readonly id: string
  readonly name: string
  readonly mountID: string
  readonly initID: string
  readonly image: Image
  readonly imageName: string
  readonly storageOptions: StorageOptions
  /** In bytes. */
  readonly size: number | undefined
  readonly idMap: IDMap | undefined
}

/** Makes a container of `image`. */
export async function createContainer(
  store: StoreContext,
  image: Image,
  imageName: string,
  options: CreateOptions,
): Promise<ContainerEntry> {
  const id = randomBytes(32).toString('hex')
  const mountID = randomBytes(32).toString('hex')
  const name = options.name ?? id.slice(0, SHORT_ID_LENGTH)
  if (!NAME.test(name)) {
    throw new OverlaidError('ERR_INVALID_ARGUMENT', `${JSON.stringify(name)} cannot name a container`, {
      hint: 'two or more of a-z A-Z 0-9 _ . -, the first a letter or digit',
    })
  }
  const { storageOptions = {} } = options
  const size = sizeLimit(storageOptions)
  const initID = `${mountID}-init`
  const idMap = await readMap(options.idMap)
  const plan: Plan = { id, name, mountID, initID, image, imageName, storageOptions, size, idMap }
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  const { lease, parent } = await store.locked(() => leaseImage(store, plan), signal)
  try {
    await makeFolders(store, plan, parent)
    return await store.locked(() => record(store, plan), signal)
  } catch (error) {
    await removeFolders(store, plan)
    throw error
  } finally {
    lease.drop()
  }
}

/** From now on the image's layers stay, and the folders to be made are nobody's rubbish. */
async function leaseImage(
  store: StoreContext,
  plan: Plan,
): Promise<{ readonly lease: Lease; readonly parent: CacheID | undefined }> {
  await expectFreeName(store, plan)
  const { image, mountID, initID } = plan
  const top = await expectLayers(store, image)
  const chainIDs = top === undefined ? [] : [top.chainID]
  const lease = await takeLease(store.paths, { chainIDs, driverIDs: [mountID, initID] })
  return { lease, parent: top?.cacheID }
}

async function expectFreeName(store: StoreContext, { id, name }: Plan): Promise<void> {
  // As good as an id: 48 random bits that nobody chose. Asking would be reading every container.
  if (name === id.slice(0, SHORT_ID_LENGTH)) return
  const taken = (await listContainers(store)).find((container) => container.name === name)
  if (taken === undefined) return
  throw new OverlaidError('ERR_ALREADY_EXISTS', `the name ${name} is container ${taken.id}'s`)
}

async function makeFolders(
  store: StoreContext,
  { mountID, initID, size, idMap }: Plan,
  parent: CacheID | undefined,
): Promise<void> {
  const { driver, durability } = store
  // The init layer as well, as moby does: each has the limit for itself.
  const limits = { sync: false, ...(size !== undefined && { size }) }
  await driver.createReadWrite(initID, parent, limits)
  failpoint('container.create.after-init')
  const fill = () => fillInitLayer(store, initID, parent)
  const createOn = () =>
    driver.createReadWrite(mountID, initID, idMap === undefined ? limits : { ...limits, idMap })
  if (isFilledUnmounted(store, parent)) await both(fill(), createOn())
  else {
    // Once it has a child it is mounted read-only.
    await fill()
    await createOn()
  }
  failpoint('container.create.after-folders')
  if (durability === 'full') await syncHome(driver.home)
}

/** Waits for both though one fails, so that all there is can be removed then. */
async function both(...work: readonly [Promise<void>, Promise<void>]): Promise<void> {
  for (const done of await Promise.allSettled(work)) if (done.status === 'rejected') throw done.reason
}

async function syncHome(home: string): Promise<void> {
  const fd = openSync(home, 'r')
  await binding.syncfs(fd).finally(() => closeSync(fd))
}

/** The commit point. The caller holds the store lock. */
async function record(store: StoreContext, plan: Plan): Promise<ContainerEntry> {
  const { id, name, mountID, initID, image, imageName } = plan
  await expectFreeName(store, plan)
  const config = expectImage(store.paths, image.id).toString()
  const created = new Date().toISOString()
  const own = {
    version: 1,
    id,
    name,
    image: image.id,
    imageName,
    created,
    config,
    ...recorded(plan),
  } as const
  const mount = { name: id, mountID, initID, parent: image.chainIDs.at(-1) }
  await writeContainer(store.paths, own, mount, store.durability)
  return entryOfRecord(own, mount)
}

/** Containers without options have records as they always had. */
function recorded({
  storageOptions: { size },
  idMap,
}: Plan): Pick<ContainerRecord, 'storageOptions' | 'idMap'> {
  return { ...(size !== undefined && { storageOptions: { size } }), ...(idMap !== undefined && { idMap }) }
}

/** The map itself: the process may be gone when the container is mounted. @throws ERR_INVALID_ARGUMENT */
async function readMap(given: CreateOptions['idMap']): Promise<IDMap | undefined> {
  const idMap = given !== undefined && 'pid' in given ? await mapOfProcess(given.pid) : given
  if (idMap !== undefined) expectIDMap(idMap)
  return idMap
}

async function mapOfProcess(pid: number): Promise<IDMap> {
  try {
    const read = async (kind: string) =>
      parseRanges(await readFile(`/proc/${String(pid)}/${kind}_map`, 'utf8'))
    return { uid: await read('uid'), gid: await read('gid') }
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ESRCH')) throw error
    throw new OverlaidError('ERR_INVALID_ARGUMENT', `there is no process ${String(pid)}`)
  }
}

async function removeFolders(store: StoreContext, { mountID, initID }: Plan): Promise<void> {
  try {
    // The upper one first: a folder without its parent would be damage, the reverse is rubbish.
    for (const id of [mountID, initID]) await store.driver.remove(id)
    await store.driver.emptyTrash()
  } catch (error) {
    // The first error is the one to report; what stays is rubbish that gc removes.
    store.warn(`could not remove the folders of a container that was not made: ${String(error)}`)
  }
}

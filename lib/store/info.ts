/** What `overlaid info` prints, minus the version. */
import { readFile } from 'node:fs/promises'
import { describeBacking, nearestExisting } from '../driver/backing.ts'
import type { DriverAnswer } from '../driver/answer.ts'
import { driverOrder } from '../driver/order.ts'
import { hasCode } from '../errors.ts'
import { writeFileAtomic } from '../fs/atomic.ts'
import { bootID } from '../native/boot-id.ts'
import { type Capabilities, probeCapabilities } from '../native/probe.ts'
import { listContainers } from './container-entry.ts'
import { askDrivers, firstThatWorks } from './ask-drivers.ts'
import type { StoreContext } from './context.ts'
import { listImageIDs } from './image-db.ts'
import { listChainIDs } from './layer-db.ts'
import type { OpenRoot } from './open-root.ts'
import { MODES } from './paths.ts'

export interface StoreInfo {
  readonly root: string
  /** Where nothing decides yet: the one that the first change would choose. */
  readonly driver: string
  readonly backingFs: { readonly name: string; readonly magic: string; readonly dType: boolean }
  /** What the kernel can, each found by trying, in a folder of the root that is removed again. */
  readonly capabilities: Readonly<Record<string, boolean>>
  /** Each driver of Docker's, in the order in which they are tried, with the reason why it is not usable here. */
  readonly drivers: readonly DriverAnswer[]
  readonly images: number
  readonly layers: number
  readonly containers: number
}

export async function storeInfo(store: OpenRoot, orderOf: string | undefined): Promise<StoreInfo> {
  const { root, driver, paths } = store
  const { name, magic, dType } = await describeBacking(root)
  const drivers = await askDrivers(root, driverOrder(orderOf))
  return {
    root,
    driver: (store.isUndecided ? firstThatWorks(drivers) : undefined) ?? driver.name,
    backingFs: { name, magic, dType: dType ?? true },
    capabilities: { ...(await capabilities(store)) },
    drivers,
    images: (await listImageIDs(paths)).length,
    layers: (await listChainIDs(paths)).length,
    containers: (await listContainers(store)).length,
  }
}

interface Probed {
  readonly bootID: string
  readonly capabilities: Capabilities
}

/**
 * What was found in this boot, else found now: in a folder of the data root that is removed again. A store that is
 * open for writing keeps the answer; one that is read-only leaves nothing, and tries each time.
 */
async function capabilities(store: StoreContext): Promise<Capabilities> {
  const boot = bootID()
  const known = await readProbed(store.paths.capabilities)
  if (known?.bootID === boot) return known.capabilities
  const found = await probeCapabilities(nearestExisting(store.root))
  // What this process may not try, another may.
  if (!store.readOnly && found.overlay) await keepProbed(store, { bootID: boot, capabilities: found })
  return found
}

async function keepProbed({ paths }: StoreContext, probed: Probed): Promise<void> {
  try {
    const options = { mode: MODES.privateFile, durability: 'none' } as const
    await writeFileAtomic(paths.capabilities, JSON.stringify(probed), options)
  } catch (error) {
    // A root that nothing was written to yet: asking makes none.
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

async function readProbed(path: string): Promise<Probed | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Probed
  } catch (error) {
    // EACCES: a reader who may not look into our folder. SyntaxError: cut off by a power cut, it is never synced.
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES') || error instanceof SyntaxError) return undefined
    throw error
  }
}

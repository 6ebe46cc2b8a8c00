/** What `overlaid info` prints, minus the version. */
import { readFile } from 'node:fs/promises'
import { describeBacking, nearestExisting } from '../driver/backing.ts'
import type { Driver } from '../driver/driver.ts'
import { DRIVER_NAMES } from '../driver/drivers.ts'
import type { DriverRefusal } from '../driver/select.ts'
import { hasCode } from '../errors.ts'
import { writeFileAtomic } from '../fs/atomic.ts'
import { bootID } from '../native/boot-id.ts'
import { type Capabilities, probeCapabilities } from '../native/probe.ts'
import { listContainers } from './container-entry.ts'
import type { StoreContext } from './context.ts'
import { listImageIDs } from './image-db.ts'
import { listChainIDs } from './layer-db.ts'
import { MODES } from './paths.ts'

export interface StoreInfo {
  readonly root: string
  readonly driver: string
  readonly backingFs: { readonly name: string; readonly magic: string; readonly dType: boolean }
  /** What the kernel can, each found by trying, in a folder of the root that is removed again. */
  readonly capabilities: Readonly<Record<string, boolean>>
  readonly drivers: readonly { readonly name: string; readonly usable: boolean; readonly reason?: string }[]
  readonly images: number
  readonly layers: number
  readonly containers: number
}

export async function storeInfo(store: StoreContext, refused: readonly DriverRefusal[]): Promise<StoreInfo> {
  const { root, driver, paths } = store
  const { name, magic, dType } = await describeBacking(root)
  const reasons = new Map(refused.map((refusal) => [refusal.driver, refusal.reason]))
  const own = await whyUnusable(driver)
  if (own !== undefined) reasons.set(driver.name, own)
  return {
    root,
    driver: driver.name,
    backingFs: { name, magic, dType: dType ?? true },
    capabilities: { ...(await capabilities(store)) },
    drivers: DRIVER_NAMES.map((name) => {
      const reason = reasons.get(name)
      return { name, usable: reason === undefined, ...(reason !== undefined && { reason }) }
    }),
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

/** Why the root's own driver cannot write here: it was selected by what is in the root, not by trying. */
async function whyUnusable(driver: Driver): Promise<string | undefined> {
  try {
    await driver.verify()
    return undefined
  } catch (error) {
    if (!hasCode(error, 'ERR_UNSUPPORTED_FS', 'ERR_UNSUPPORTED_KERNEL', 'ERR_NO_PRIVILEGE')) throw error
    return (error as Error).message
  }
}

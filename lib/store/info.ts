/** What `overlaid info` prints, minus the version. */
import { describeBacking } from '../driver/backing.ts'
import { DRIVER_NAMES, type DriverRefusal } from '../driver/select.ts'
import { listContainers } from './container-entry.ts'
import type { StoreContext } from './context.ts'
import { listImageIDs } from './image-db.ts'
import { listChainIDs } from './layer-db.ts'

export interface StoreInfo {
  readonly root: string
  readonly driver: string
  readonly backingFs: { readonly name: string; readonly magic: string; readonly dType: boolean }
  /** What the kernel can, each found by trying. */
  readonly capabilities: Readonly<Record<string, boolean>>
  readonly drivers: readonly { readonly name: string; readonly usable: boolean; readonly reason?: string }[]
  readonly images: number
  readonly layers: number
  readonly containers: number
}

export async function storeInfo(store: StoreContext, refused: readonly DriverRefusal[]): Promise<StoreInfo> {
  const { root, driver, paths } = store
  const { name, magic, dType } = await describeBacking(root)
  return {
    root,
    driver: driver.name,
    backingFs: { name, magic, dType: dType ?? true },
    capabilities: {},
    drivers: DRIVER_NAMES.map((candidate) => {
      const reason = refused.find((refusal) => refusal.driver === candidate)?.reason
      return { name: candidate, usable: reason === undefined, ...(reason !== undefined && { reason }) }
    }),
    images: (await listImageIDs(paths)).length,
    layers: (await listChainIDs(paths)).length,
    containers: (await listContainers(store)).length,
  }
}

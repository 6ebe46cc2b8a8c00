/** Docker's `--storage-opt` of a container: how large it may become. */
import type { LayerQuota } from '../driver/driver.ts'
import { OverlaidError } from '../errors.ts'
import type { ContainerEntry } from './container-entry.ts'
import type { StoreContext } from './context.ts'

/** What is asked of the storage driver for one container; docker's keys. */
export interface StorageOptions {
  /**
   * The most it may take on disk, its init layer aside: bytes, or docker's way of saying them (`64m`, `1.5GiB`), whose
   * units are powers of 1024. Writing more fails with EDQUOT or ENOSPC.
   */
  readonly size?: string | number
}

/** docker's go-units: RAMInBytes. */
const SIZE = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i
const UNITS = ['', 'k', 'm', 'g', 't', 'p']

/**
 * The bytes of the options' size, undefined where there is none.
 * @throws ERR_INVALID_ARGUMENT, also for options that there are not
 */
export function sizeLimit(options: StorageOptions): number | undefined {
  const unknown = Object.keys(options).find((key) => key !== 'size')
  if (unknown !== undefined) {
    const message = `${JSON.stringify(unknown)} is no storage option`
    throw new OverlaidError('ERR_INVALID_ARGUMENT', message, { hint: 'there is one: size' })
  }
  const { size } = options
  if (size === undefined) return undefined
  const bytes = typeof size === 'number' ? size : parseSize(size)
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes
  throw new OverlaidError('ERR_INVALID_ARGUMENT', `${JSON.stringify(size)} is no size of a container`, {
    hint: 'a number of bytes, or one with a unit: 64m, 1.5g',
  })
}

function parseSize(text: string): number {
  const [, number, unit = ''] = SIZE.exec(text) ?? []
  return Math.floor(Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase()))
}

/** Bytes on disk of a container that has a size limit, from the file system's counters. */
export async function quotaOf(
  { driver }: StoreContext,
  { owner, mount, storageOptions }: ContainerEntry,
): Promise<{ readonly quota?: LayerQuota }> {
  // dockerd may have a limit for all of its containers (overlay2.size), which no container's file tells.
  if (owner === 'overlaid' && storageOptions.size === undefined) return {}
  const quota = await driver.quota(mount.mountID)
  return quota === undefined ? {} : { quota }
}

/** @throws ERR_UNSUPPORTED_FS when the container was made with a limit that nothing enforces now */
export async function expectQuota(store: StoreContext, entry: ContainerEntry): Promise<void> {
  const { size } = entry.storageOptions
  if (size === undefined) return
  await store.driver.renewQuota?.(entry.mount.mountID)
  if ((await quotaOf(store, entry)).quota !== undefined) return
  throw new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `container ${entry.name} is limited to ${String(size)}, and its file system enforces no limits now`,
    { path: store.driver.home, hint: 'mount that file system with its quotas (ext4, XFS: -o prjquota)' },
  )
}

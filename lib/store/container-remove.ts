/** Removing a container. */
import { OverlaidError } from '../errors.ts'
import { failpoint } from '../fs/failpoint.ts'
import { join } from 'node:path'
import { mountIDAt } from '../native/mount.ts'
import { removeFile } from './claim.ts'
import { deleteContainer } from './container-db.ts'
import { type ContainerEntry, expectContainer } from './container-entry.ts'
import type { StoreContext } from './context.ts'
import { dropHoldsFolder, endHold, reapHolds } from './hold-end.ts'
import { withSharedLock } from './lock.ts'
import { mergedPath } from './mounting.ts'

/**
 * Removes a container of ours, with its changes. A persistent mount of it is undone first. When this returns the
 * container is gone for good; its files are deleted in the background, and {@link Store.close} waits for that.
 * @throws ERR_IN_USE while a process holds a mount of it, or the mount is busy; also when dockerd made it
 */
export async function removeContainer(store: StoreContext, entry: ContainerEntry): Promise<void> {
  const { id, name, owner } = entry
  if (owner === 'docker') {
    throw new OverlaidError(
      'ERR_IN_USE',
      `dockerd made container ${name}: it has more of it than overlaid knows`,
      {
        hint: `docker rm ${name}`,
      },
    )
  }
  await store.refuseBesideDockerd()
  await store.prepare()
  const lock = join(store.paths.locks, id)
  // Without waiting for a mount that this process is ending: it can end just as well with its files in the trash.
  await withSharedLock(lock, async () => {
    expectContainer(store, entry)
    await endMounts(store, entry)
    failpoint('container.remove.before-entry')
    await store.locked(() => forget(store, entry))
    await dropHoldsFolder(store.paths, id)
    // Whoever waits for the lock finds no container any more.
    removeFile(lock)
  })
  store.driver.emptyTrashSoon()
}

async function endMounts(store: StoreContext, { id, name, mount }: ContainerEntry): Promise<void> {
  const live = await reapHolds(store.paths, id)
  const held = live.filter((hold) => hold.alive || !hold.content.persist)
  if (held.length > 0) {
    const pids = held.map(({ content }) => String(content.pid)).join(', ')
    throw new OverlaidError('ERR_IN_USE', `container ${name} is mounted by process ${pids}`)
  }
  for (const hold of live) await endHold(store.paths, id, hold, {})
  const path = mergedPath(store, mount.mountID)
  if ((await mountIDAt(path)) === undefined) return
  throw new OverlaidError('ERR_IN_USE', `container ${name} is mounted at ${path}, not by overlaid`, { path })
}

/** The record first: folders that no record names are rubbish, a record without its folders would be damage. */
async function forget(
  { paths, driver, durability }: StoreContext,
  { id, mount }: ContainerEntry,
): Promise<void> {
  await deleteContainer(paths, id, durability)
  failpoint('container.remove.before-folders')
  for (const id of [mount.mountID, mount.initID]) {
    if (id !== undefined) await driver.remove(id, { sync: false })
  }
}

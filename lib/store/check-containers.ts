/** Containers: entries of layerdb/mounts, our own records, and dockerd's. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Finding } from './check-finding.ts'
import { writeField } from './check-layers.ts'
import type { StoreContext } from './context.ts'
import type { Inventory, MountState } from './inventory.ts'
import { containerFile } from './paths.ts'
import { toldParent } from './told.ts'

export function checkContainers(store: StoreContext, inventory: Inventory): Finding[] {
  return [
    ...[...inventory.mounts.values()].flatMap((mount) => checkMount(store, inventory, mount)),
    ...checkRecords(store, inventory),
    ...checkDocker(store, inventory),
  ]
}

function checkMount(store: StoreContext, inventory: Inventory, mount: MountState): Finding[] {
  if (mount.isEmpty) {
    const { dir: path, name } = mount
    const mend = () => rm(path, { recursive: true, force: true })
    return [{ kind: 'empty-container-entry', path, detail: `${name} has no folder and no layer`, mend }]
  }
  return [
    ...checkMountID(store, inventory, mount),
    ...checkInitID(store, inventory, mount),
    ...checkMountParent(store, inventory, mount),
    ...checkFolders(inventory, mount),
  ]
}

function checkMountID(store: StoreContext, { folders }: Inventory, mount: MountState): Finding[] {
  if (mount.mountID !== undefined) return []
  const path = join(mount.dir, 'mount-id')
  const right = mount.initID?.replace(/-init$/, '')
  const canMend = right !== undefined && folders.has(right)
  const detail = `the writable layer of ${mount.name} cannot be told`
  return [
    {
      kind: 'bad-container-entry',
      path,
      detail,
      ...(canMend && { mend: () => writeField(store, path, right) }),
    },
  ]
}

function checkInitID(store: StoreContext, { folders }: Inventory, mount: MountState): Finding[] {
  const { mountID, initID, hasInit } = mount
  const right = `${mountID ?? ''}-init`
  // A missing file is wrong only where there is an init layer: an entry of another user's may have none.
  if (initID !== undefined || (!hasInit && !folders.has(right))) return []
  const path = join(mount.dir, 'init-id')
  const mend = () => writeField(store, path, right)
  const detail = `the init layer of ${mount.name} cannot be told`
  return [{ kind: 'bad-container-entry', path, detail, ...(folders.has(right) && { mend }) }]
}

function checkMountParent(store: StoreContext, inventory: Inventory, mount: MountState): Finding[] {
  const path = join(mount.dir, 'parent')
  const told = toldParent(inventory, mount.name)
  if (mount.parent === undefined) {
    if (!mount.hasParent && told === undefined) return []
    const mend = told === undefined ? {} : { mend: () => writeField(store, path, told) }
    return [
      {
        kind: 'bad-container-entry',
        path,
        detail: `the image layer of ${mount.name} cannot be told`,
        ...mend,
      },
    ]
  }
  if (inventory.layers.has(mount.parent)) return []
  const detail = `${mount.name} stands on ${mount.parent}, which is not in the store: load an image that has it`
  return [{ kind: 'missing-container-layer', path, detail }]
}

function checkFolders({ folders }: Inventory, { name, dir, mountID, initID }: MountState): Finding[] {
  const named = { 'mount-id': mountID, 'init-id': initID }
  return Object.entries(named)
    .filter(([, id]) => id !== undefined && !folders.has(id))
    .map(([field, id]) => ({
      kind: 'missing-container-folder',
      path: join(dir, field),
      detail: `${name} has its ${field === 'init-id' ? 'init' : 'writable'} layer in ${id ?? ''}, which is gone`,
    }))
}

function checkRecords({ paths }: StoreContext, { records, mounts }: Inventory): Finding[] {
  return [...records].flatMap(([id, record]): Finding[] => {
    const path = containerFile(paths, id)
    if (!mounts.has(id)) {
      const mend = () => rm(path, { force: true })
      return [{ kind: 'stale-container-record', path, detail: `there is no container ${id}`, mend }]
    }
    if (record !== undefined) return []
    return [{ kind: 'bad-container-record', path, detail: `the record of ${id} does not have its form` }]
  })
}

function checkDocker(store: StoreContext, { docker, mounts }: Inventory): Finding[] {
  const damaged: Finding[] = docker.damaged.map((container) => ({
    kind: 'bad-docker-container',
    ...container,
  }))
  const lost: Finding[] = docker.containers
    .filter(({ id, driver }) => driver === store.driver.name && !mounts.has(id))
    .map(({ id, name }) => ({
      kind: 'missing-docker-layer',
      path: join(store.paths.dockerContainers, id),
      detail: `the container ${name} has no entry in ${store.paths.mounts}`,
    }))
  return [...damaged, ...lost]
}

/**
 * What the fault tests interrupt: a pass through every durable change of a store. Plain JavaScript, since it runs in
 * the tests' own process and, with the built library, in children.
 */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { memoryRegistry } from '../helpers/memory-registry.mjs'

/** Names that a pass makes and removes; whatever else is in the store must survive it. */
const NAMES = ['api:1', 'work:1', 'tagged:1']
/** Tags in the pass's own registry; with them go digests. */
const REMOTE = /^127\.0\.0\.1:[^@]+$/

/** Root is root outside as well, so that it may write. */
const RANGES = [{ container: 0, host: 0, size: 65_536 }]
const idMap = { uid: RANGES, gid: RANGES }
/**
 * Of the container, for what only some drivers write down of it.
 * @type {Record<string, import('../../lib/index.ts').CreateOptions>}
 */
const OPTIONS = { vfs: { idMap }, btrfs: { idMap, storageOptions: { size: '64m' } } }

/**
 * @param {import('../../lib/index.ts').Store} store
 * @param {string} archive - of api:1
 * @param {(step: string) => void | Promise<void>} [say] - told of each step that is done
 */
export async function workload(store, archive, say = () => {}) {
  await store.images.loadAll(archive)
  await say('loaded')
  const container = await store.containers.create('api:1', { name: 'work', ...OPTIONS[store.driver.name] })
  await say('created')
  const mount = await container.mount()
  writeFileSync(join(mount.path ?? '', 'new'), 'written')
  rmSync(join(mount.path ?? '', 'etc/motd'))
  await mount.unmount()
  await say('written')
  await container.commit('work:1')
  await say('committed')
  await store.images.tag('work:1', 'tagged:1')
  await container.remove()
  await say('removed')
  await pushAndPull(store)
  await say('pulled')
  await store.images.remove(NAMES)
  await say('untagged')
  await store.gc()
}

/** @param {import('../../lib/index.ts').Store} store */
async function pushAndPull(store) {
  const { host, close } = await memoryRegistry()
  try {
    const name = `${host}/work:1`
    await store.images.tag('work:1', name)
    const { digest } = await store.images.push(name)
    await store.images.pull(`${host}/work@${digest}`)
    // With a repository's last tag go its digests.
    await store.images.remove([name])
  } finally {
    await close()
  }
}

/**
 * Removes what an interrupted pass left under its names, so that another can begin.
 * @param {import('../../lib/index.ts').Store} store
 */
export async function tidy(store) {
  for (const { id, name, mounted } of await store.containers.list()) {
    if (name !== 'work') continue
    if (mounted) await store.unmount(id)
    await (await store.containers.get(id)).remove()
  }
  const there = (await store.images.list()).flatMap(({ names }) => names)
  await store.images.remove(there.filter((name) => NAMES.includes(name) || REMOTE.test(name)))
}

/**
 * One of many processes on a store: random steps until the time is up. What it made itself must stay until it
 * removes it; what it shares may be gone, or in use, when it comes, and the store says so with a documented code.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What another process's step may lead to. Anything else ends the process. */
const EXPECTED = new Set(['ERR_IN_USE', 'ERR_IMAGE_NOT_FOUND'])

/**
 * @typedef {import('../../lib/index.ts').Store} Store
 * @typedef {{ root: string, archive: string, me: number, seed: number, seconds: number }} Setting
 */

/**
 * @param {typeof import('../../lib/index.ts').Store} StoreClass
 * @param {Setting} setting
 */
export async function race(StoreClass, { root, archive, me, seed, seconds }) {
  const store = await StoreClass.open(root, { durability: 'none' })
  /** @type {Record<string, (pass: number) => Promise<void>>} */
  const steps = {
    load: async () => void (await store.images.loadAll(archive)),
    work: (pass) => work(store, `p${String(me)}-${String(pass)}`),
    remove: async () => void (await store.images.remove(['api:1'])),
    gc: async () => void (await store.gc()),
    save: () => drain(store.images.save(['api:1'])),
  }
  const kinds = Object.keys(steps)
  /** @type {Record<string, number>} */
  const done = {}
  /** @type {Record<string, number>} */
  const refused = {}
  const end = Date.now() + seconds * 1000
  for (let pass = 0, state = seed; Date.now() < end; pass++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const kind = kinds[(state >>> 16) % kinds.length] ?? ''
    try {
      await steps[kind]?.(pass)
      done[kind] = (done[kind] ?? 0) + 1
    } catch (error) {
      const code = /** @type {{ code?: string }} */ (error).code ?? ''
      if (!EXPECTED.has(code)) throw error
      refused[`${kind} ${code}`] = (refused[`${kind} ${code}`] ?? 0) + 1
    }
  }
  await store.close()
  return { done, refused }
}

/**
 * A container's whole life; each step finds what the one before left.
 * @param {Store} store
 * @param {string} name
 */
async function work(store, name) {
  const container = await store.containers.create('api:1', { name })
  try {
    const mount = await container.mount()
    const path = join(mount.path ?? '', 'mine')
    writeFileSync(path, name)
    const os = readFileSync(join(mount.path ?? '', 'etc/os-release'), 'utf8')
    if (os !== 'ID=test\n') throw new Error(`${name}: a layer changed underneath: ${os}`)
    if (readFileSync(path, 'utf8') !== name) throw new Error(`${name}: not what was written`)
    await mount.unmount()
    await container.commit(`${name}:1`)
  } finally {
    await container.remove()
  }
  const image = await store.images.get(`${name}:1`)
  for (const chainID of image.chainIDs) await store.layers.get(chainID)
  const again = await store.images.mount(`${name}:1`)
  const kept = readFileSync(join(again.path ?? '', 'mine'), 'utf8')
  await again.unmount()
  if (kept !== name) throw new Error(`${name}: the commit lost what was written`)
  await store.images.remove([`${name}:1`])
}

/** @param {AsyncIterable<Buffer>} stream */
async function drain(stream) {
  for await (const chunk of stream) if (chunk.length === 0) throw new Error('an empty chunk')
}

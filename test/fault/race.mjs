/**
 * One of many processes on a store: random steps until the time is up. What it made itself must stay until it
 * removes it; what it shares may be gone, or in use, when it comes, and the store says so with a documented code.
 * Plain JavaScript, since it runs in children with the built library.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What another process's step may lead to. Anything else ends the process. */
const EXPECTED = new Set(['ERR_IN_USE', 'ERR_IMAGE_NOT_FOUND'])

/** Images by the names of their layers, base first: each layer is a file of its name that holds {@link contentOf}. */
export const IMAGES = {
  a: ['base', 'x', 'a'],
  b: ['base', 'x', 'b'],
  c: ['base', 'y', 'z', 'c'],
  d: ['base', 'y', 'd'],
}

/** @typedef {keyof typeof IMAGES} Name */
const NAMES = /** @type {Name[]} */ (Object.keys(IMAGES))

/** @param {string} layer */
export function contentOf(layer) {
  return layer.repeat(1000)
}

/**
 * @typedef {import('../../lib/index.ts').Store} Store
 * @typedef {{ root: string, archives: string, me: number, seed: number, seconds: number }} Setting
 * @typedef {{ done: Record<string, number>, refused: Record<string, number> }} Counts
 */

/**
 * Steps by name. Each leaves nothing of its own; images it loads and removes are everybody's.
 * @param {Store} store
 * @param {Setting} setting
 * @param {() => number} random
 * @returns {Record<string, (pass: number) => Promise<void>>}
 */
function stepsOf(store, { archives, me }, random) {
  const pick = () => /** @type {Name} */ (NAMES[Math.floor(random() * NAMES.length)])
  const target = join(archives, `target-${String(me)}`)
  mkdirSync(target, { recursive: true })
  /** @param {import('../../lib/index.ts').ImageMountOptions} options */
  const look = async (options) => {
    const name = pick()
    const mount = await store.images.mount(`${name}:1`, options)
    const dir = mount.path ?? `/proc/self/fd/${String(mount.fd)}`
    try {
      for (const layer of IMAGES[name]) expectContent(join(dir, layer), contentOf(layer))
    } finally {
      await mount.unmount()
    }
  }
  return {
    load: async () => void (await store.images.loadAll(join(archives, `${pick()}.tar`))),
    remove: async () => void (await store.images.remove([`${pick()}:1`])),
    force: async () => void (await store.images.remove([`${pick()}:1`], { force: true })),
    gc: async () => void (await store.gc()),
    check: () => expectNoDamage(store, random() < 0.3),
    mount: () => look({}),
    target: () => look({ target }),
    detached: () => look({ detached: true }),
    work: (pass) => work(store, pick(), `p${String(me)}-${String(pass)}`),
    list: async () => void (await Promise.all([store.images.list(), store.layers.list(), store.df()])),
    save: () => drain(store.images.save([`${pick()}:1`])),
  }
}

/**
 * @param {typeof import('../../lib/index.ts').Store} StoreClass
 * @param {Setting} setting
 * @returns {Promise<Counts>}
 */
export async function race(StoreClass, setting) {
  const store = await StoreClass.open(setting.root, { durability: 'none' })
  let state = setting.seed
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
  const steps = stepsOf(store, setting, random)
  // Loads are what the other steps live on.
  const kinds = [...Object.keys(steps), 'load', 'load', 'load', 'load']
  /** @type {Counts} */
  const { done, refused } = { done: {}, refused: {} }
  const end = Date.now() + setting.seconds * 1000
  for (let pass = 0; Date.now() < end; pass++) {
    const kind = kinds[Math.floor(random() * kinds.length)] ?? ''
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
 * What others are at is not damage, whenever one looks.
 * @param {Store} store
 * @param {boolean} deep
 */
async function expectNoDamage(store, deep) {
  const { problems } = await store.check({ deep })
  const damage = problems.filter(({ severity }) => severity === 'damage')
  if (damage.length > 0) throw new Error(`damage: ${JSON.stringify(damage)}`)
}

/**
 * @param {string} path
 * @param {string} content
 */
function expectContent(path, content) {
  if (readFileSync(path, 'utf8') !== content) throw new Error(`${path} is not what it was`)
}

/**
 * A container's whole life; each step finds what the one before left.
 * @param {Store} store
 * @param {Name} image
 * @param {string} name
 */
async function work(store, image, name) {
  const container = await store.containers.create(`${image}:1`, { name })
  try {
    const mount = await container.mount()
    const dir = mount.path ?? ''
    writeFileSync(join(dir, 'mine'), name)
    for (const layer of IMAGES[image]) expectContent(join(dir, layer), contentOf(layer))
    expectContent(join(dir, 'mine'), name)
    await mount.unmount()
    await container.commit(`${name}:1`)
  } finally {
    await container.remove()
  }
  const committed = await store.images.get(`${name}:1`)
  for (const chainID of committed.chainIDs) await store.layers.get(chainID)
  const again = await store.images.mount(`${name}:1`)
  expectContent(join(again.path ?? '', 'mine'), name)
  await again.unmount()
  await store.images.remove([`${name}:1`])
}

/** @param {AsyncIterable<Buffer>} stream */
async function drain(stream) {
  for await (const chunk of stream) if (chunk.length === 0) throw new Error('an empty chunk')
}

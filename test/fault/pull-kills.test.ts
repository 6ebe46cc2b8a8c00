/**
 * SIGKILL at random moments of a pull: the store is sound, and the next pull finishes it and fetches only the layers
 * that were not there yet. `OVERLAID_KILLS` is how many (100), `OVERLAID_SEED` repeats a run.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { startChild } from '../helpers/child.ts'
import { fakeRegistry } from '../helpers/fake-registry.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { KIB } from '../helpers/sizes.ts'
import { random, seed } from './seed.ts'

const KILLS = Number(process.env['OVERLAID_KILLS'] ?? 100)
const LAYERS = 8
/** Progress that a pull tells, at most: a kill comes after any of it. */
const EVENTS = 80

const scratch = mkdtempSync(join(tmpdir(), 'overlaid-pull-kills-'))
watchLeaks(() => [scratch])
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const PROGRAM = `
  const store = await Store.open(root, { durability: 'none' })
  const onProgress = () => void say('more')
  await store.images.pull(ref, { dockerConfig: '/nonexistent', onProgress })
  await say('done')
  await told()
`

it.skipIf(missing('canMount', 'canMknod', 'canTrustedXattr'))(
  `${String(KILLS)} kills of a pull leave what was whole, and no damage`,
  async () => {
    console.log(`OVERLAID_SEED=${String(seed)}`)
    const layers = Array.from({ length: LAYERS }, (_, i) => [
      { name: `layer-${String(i)}`, body: randomBytes(256 * KIB) },
      ...Array.from({ length: 20 }, (_, n) => ({ name: `${String(i)}-${String(n)}`, body: 'x' })),
    ])
    const image = buildImage({ layers })
    await using registry = await fakeRegistry({ 'big:1': image })
    const ref = `${registry.host}/big:1`
    const root = join(scratch, 'root')
    const kept = new Map<number, number>()
    for (let run = 0; run < KILLS; run++) {
      await using child = startChild(PROGRAM, { root, ref })
      let left = 1 + random() * EVENTS
      while ((await child.heard()) !== 'done' && left > 0) left--
      await child.kill()
      await using store = await Store.open(root, { durability: 'none' })
      expect((await store.check({ deep: true })).ok).toBe(true)
      const whole = (await store.layers.list()).length
      kept.set(whole, (kept.get(whole) ?? 0) + 1)
      registry.requests.length = 0
      expect((await store.images.pull(ref, { dockerConfig: '/nonexistent' })).id).toBe(image.id)
      // The config, and the layers that were not whole.
      const blobs = registry.requests.filter((line) => line.includes('/blobs/'))
      expect(blobs, `after kill ${String(run)}`).toHaveLength(1 + LAYERS - whole)
      await store.gc()
      expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
      await store.images.remove([image.id], { force: true })
      await store.gc()
      expect(await store.layers.list()).toEqual([])
    }
    console.log('layers that were whole, and how often:', Object.fromEntries(kept))
    // Kills that all came too early or too late would prove nothing.
    const between = [...kept].filter(([whole]) => whole > 0 && whole < LAYERS)
    expect(between.length).toBeGreaterThan(0)
  },
  1_200_000,
)

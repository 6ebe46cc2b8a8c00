/**
 * Many processes on one store, loading, creating, mounting, committing, removing, checking and collecting garbage at
 * random: no error but the documented ones, and nothing goes that is in use or being made. `OVERLAID_RACE_SECONDS`
 * is for how long (60); `OVERLAID_SEED` repeats a run, as far as processes that run at once can.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { type Child, startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage, dockerArchive } from '../helpers/image.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { contentOf, type Counts, IMAGES } from './race.mjs'
import { random, seed } from './seed.ts'
import { copyStore, expectSound, makeBase } from './sound.ts'

const PROCESSES = 8
const SECONDS = Number(process.env['OVERLAID_RACE_SECONDS'] ?? 60)
/** Between two kills, at most. */
const LATEST_MS = 800

const scratch = mkdtempSync(join(tmpdir(), 'overlaid-processes-'))
const program = `
  const { race } = await import(file)
  say(await race(Store, { root, archives, me, seed, seconds }))
`

function start(root: string, me: number, seconds: number, childSeed: number): Child {
  const file = join(import.meta.dirname, 'race.mjs')
  return startChild(program, { root, archives: scratch, file, me, seed: childSeed, seconds })
}

describe.skipIf(missing('canMount', 'canMknod', 'canTrustedXattr'))('many processes', () => {
  let base: string
  watchLeaks(() => [scratch])
  beforeAll(async () => {
    console.log(`OVERLAID_SEED=${String(seed)}`)
    for (const [name, layers] of Object.entries(IMAGES)) {
      const tars = layers.map((layer) => [{ name: layer, body: contentOf(layer) }])
      writeFileSync(
        join(scratch, `${name}.tar`),
        dockerArchive([buildImage({ layers: tars, names: [`${name}:1`] })]),
      )
    }
    base = (await makeBase(scratch)).base
  })
  afterAll(() => rmSync(scratch, { recursive: true, force: true }))

  it(
    `${String(PROCESSES)} share a store for ${String(SECONDS)} s`,
    async () => {
      const root = copyStore(base, join(scratch, 'shared'))
      const children = Array.from({ length: PROCESSES }, (_, me) => start(root, me, SECONDS, seed + me))
      const results = (await Promise.all(children.map((child) => child.heard()))) as Counts[]
      expect(await Promise.all(children.map((child) => child.ended()))).toEqual(children.map(() => 0))
      console.log(results)
      // Each kind of step went through somewhere, or the race was none.
      const kinds = new Set(results.flatMap(({ done }) => Object.keys(done)))
      const steps = [
        'load',
        'remove',
        'force',
        'gc',
        'check',
        'mount',
        'target',
        'detached',
        'work',
        'list',
        'save',
      ]
      expect([...kinds].sort()).toEqual(steps.sort())
      await expectSound(root)
      await using store = await Store.open(root)
      expect(mountsBelow(scratch)).toEqual([])
      expect((await store.containers.list()).map(({ name }) => name)).toEqual(['kept'])
    },
    (SECONDS + 240) * 1000,
  )

  it(
    `of which one is killed now and then, for ${String(SECONDS)} s, see no damage and leave none`,
    async () => {
      const root = copyStore(base, join(scratch, 'killed'))
      const failures: string[] = []
      let started = 0
      const next = (me: number): Child => {
        const child = start(root, me + 100 * started, SECONDS * 10, seed + started)
        started++
        // A killed one says nothing more; whatever else ends one is a failure.
        child.heard().catch((error: unknown) => {
          if (!String(error).includes('SIGKILL')) failures.push(String(error))
        })
        return child
      }
      const children = Array.from({ length: PROCESSES - 2 }, (_, me) => next(me))
      const end = Date.now() + SECONDS * 1000
      while (Date.now() < end && failures.length === 0) {
        await pause(random() * LATEST_MS)
        const me = Math.floor(random() * children.length)
        await children[me]?.kill()
        children[me] = next(me)
      }
      for (const child of children) await child.kill()
      expect(failures).toEqual([])
      await expectSound(root)
      expect(mountsBelow(scratch)).toEqual([])
    },
    (SECONDS + 240) * 1000,
  )
})

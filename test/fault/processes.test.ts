/**
 * Eight processes on one store, loading, creating, mounting, committing, removing and collecting garbage at random:
 * no error but the documented ones, and nothing goes that is in use or being made. `OVERLAID_RACE_SECONDS` is for
 * how long (60).
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { mountsBelow, watchLeaks } from '../helpers/mounts.ts'
import { seed } from './seed.ts'
import { expectSound, makeBase } from './sound.ts'

const PROCESSES = 8
const SECONDS = Number(process.env['OVERLAID_RACE_SECONDS'] ?? 60)

const scratch = mkdtempSync(join(tmpdir(), 'overlaid-processes-'))
watchLeaks(() => [scratch])
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

it.skipIf(missing('canMount', 'canMknod', 'canTrustedXattr'))(
  `${String(PROCESSES)} processes share a store for ${String(SECONDS)} s`,
  async () => {
    console.log(`OVERLAID_SEED=${String(seed)}`)
    const { base, archive } = await makeBase(scratch)
    const program = `
      const { race } = await import(file)
      say(await race(Store, { root, archive, me, seed, seconds }))
    `
    const file = join(import.meta.dirname, 'race.mjs')
    const children = Array.from({ length: PROCESSES }, (_, me) =>
      startChild(program, { root: base, archive, file, me, seed: seed + me, seconds: SECONDS }),
    )
    const results = (await Promise.all(children.map((child) => child.heard()))) as Counts[]
    expect(await Promise.all(children.map((child) => child.ended()))).toEqual(children.map(() => 0))
    console.log(results)
    // Each kind of step went through somewhere, or the race was none.
    const total = (kind: string) => results.reduce((sum, counts) => sum + (counts.done[kind] ?? 0), 0)
    for (const kind of ['load', 'work', 'remove', 'gc', 'save']) expect(total(kind), kind).toBeGreaterThan(0)
    await expectSound(base)
    await using store = await Store.open(base)
    expect(mountsBelow(base)).toEqual([])
    expect((await store.containers.list()).map(({ name }) => name)).toEqual(['kept'])
  },
  (SECONDS + 240) * 1000,
)

interface Counts {
  readonly done: Readonly<Record<string, number>>
  readonly refused: Readonly<Record<string, number>>
}

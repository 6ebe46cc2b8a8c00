/**
 * SIGKILL at random moments, again and again on one store: whatever was reported done before is there afterwards.
 * `OVERLAID_KILLS` is how many (200), `OVERLAID_SEED` repeats a run.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { random, seed } from './seed.ts'
import { expectSound, makeBase } from './sound.ts'

const KILLS = Number(process.env['OVERLAID_KILLS'] ?? 200)
/** A pass takes some hundred ms after the start: kills fall anywhere in it, and now and then after it. */
const LATEST_MS = 600

const scratch = mkdtempSync(join(tmpdir(), 'overlaid-kills-'))
watchLeaks(() => [scratch])
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

/** Passes of the workload, each under a name of its own that stays, told of when it is committed. */
const PROGRAM = `
  const { tidy, workload } = await import(file)
  const store = await Store.open(root)
  await tidy(store)
  await say('ready')
  for (let pass = 0; ; pass++) {
    await workload(store, archive, async (step) => {
      if (step !== 'committed') return
      const name = \`run-\${run}:\${pass}\`
      await store.images.tag('work:1', name)
      await say(name)
    })
  }
`

it.skipIf(missing('canMount', 'canMknod', 'canTrustedXattr'))(
  `${String(KILLS)} kills lose nothing that was done`,
  async () => {
    console.log(`OVERLAID_SEED=${String(seed)}`)
    const { base, archive } = await makeBase(scratch)
    const file = join(import.meta.dirname, 'workload.mjs')
    let passes = 0
    for (let run = 0; run < KILLS; run++) {
      await using child = startChild(PROGRAM, { root: base, archive, file, run })
      expect(await child.heard()).toBe('ready')
      const done: string[] = []
      const listening = listen(() => child.heard(), done)
      await pause(random() * LATEST_MS)
      await child.kill()
      await listening
      passes += done.length
      await expectSound(base)
      await using store = await Store.open(base)
      const names = (await store.images.list()).flatMap((image) => image.names)
      expect(names, `after kill ${String(run)}`).toEqual(expect.arrayContaining(done))
      await store.images.remove(names.filter((name) => name.startsWith('run-')))
    }
    // Kills that all came too early would prove nothing.
    expect(passes).toBeGreaterThan(KILLS / 20)
  },
  1_200_000,
)

/** Collects what the child says until it is dead. */
async function listen(heard: () => Promise<unknown>, done: string[]): Promise<void> {
  try {
    for (;;) done.push(String(await heard()))
  } catch (error) {
    // Killed by us: anything else is the child's own failure.
    expect(String(error)).toContain('SIGKILL')
  }
}

/** What the fake zfs of the unit tests replays is what the real one says. */
import { spawnSync } from 'node:child_process'
import { chmodSync, statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { mountDataset } from '../../lib/driver/zfs/mount.ts'
import { type Recorded, recorded } from '../helpers/fake-zfs.ts'
import { missing } from '../helpers/gates.ts'
import { makePool } from '../helpers/zpool.ts'

const DEVICE = '/dev/zfs'
const NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups']

/** Sizes differ, and of the page on usage only the head is kept. */
function settled(text = ''): string {
  return text.replace(/\t\d+$/gm, '\tN').replace(/^usage:\n[^]*/m, 'usage:\n')
}

function run(args: readonly string[], asNobody: boolean): Omit<Recorded, 'when'> {
  const [program = '', ...all] = asNobody ? ['setpriv', ...NOBODY, 'zfs', ...args] : ['zfs', ...args]
  const { status, stdout, stderr } = spawnSync(program, all, {
    encoding: 'utf8',
    env: { LC_ALL: 'C', PATH: process.env['PATH'] },
  })
  return { args, stdout: settled(stdout), ...(status === 0 ? {} : { stderr: settled(stderr) }) }
}

async function reproduce({ args, when }: Recorded): Promise<Omit<Recorded, 'when'>> {
  if (when === 'mounted') {
    const { fd } = await mountDataset(args.at(-1) ?? '')
    try {
      return run(args, false)
    } finally {
      await fd.closeAsync()
    }
  }
  if (when === undefined) return run(args, false)
  const { mode } = statSync(DEVICE)
  chmodSync(DEVICE, when === 'shut' ? 0o600 : 0o666)
  try {
    return run(args, true)
  } finally {
    chmodSync(DEVICE, mode & 0o7777)
  }
}

describe.skipIf(missing('hasBinding', 'hasZfs'))('the recorded commands', () => {
  it('say what was recorded', async () => {
    using pool = makePool(undefined, 'recorded')
    expect(pool.name).toBe('recorded')
    const said = []
    for (const one of recorded()) said.push(await reproduce(one))
    const expected = recorded().map(({ args, stdout, stderr }) => ({
      args,
      stdout: settled(stdout),
      ...(stderr === undefined ? {} : { stderr: settled(stderr) }),
    }))
    expect(said).toEqual(expected)
  })
})

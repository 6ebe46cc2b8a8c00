import { describe, expect, it } from 'vitest'
import type { OnProgress, Progress } from '../../lib/store/progress.ts'
import { OverlaidError } from '../../lib/errors.ts'
import { digest, run, type RunResult } from './support/host.ts'

const report = { images: [], layers: { total: 2, added: 1, shared: 1 } }

/** A load that tells of `events` on its way. */
function load(events: readonly Progress[], argv: readonly string[], failure?: Error): Promise<RunResult> {
  const loadAll = async (_from: unknown, { onProgress }: { onProgress?: OnProgress }): Promise<object> => {
    for (const event of events) onProgress?.(event)
    if (failure !== undefined) throw failure
    return { ...report, seen: onProgress !== undefined }
  }
  return run([...argv, 'load', '-i', 'x'], { store: { images: { loadAll } }, terminal: ['stderr'] })
}

const layer = (digit: string, done: number, state: Progress['state'], total?: number): Progress => {
  return { kind: 'layer', id: digest(digit), done, state, ...(total === undefined ? {} : { total }) }
}

describe('progress', () => {
  it('is a bar a layer, and a line for each that is done', async () => {
    const { stdout, stderr } = await load(
      [
        { kind: 'config', id: digest('c'), done: 1, state: 'done' },
        layer('a', 0, 'waiting', 4000),
        layer('b', 0, 'exists'),
        layer('a', 1000, 'unpacking', 4000),
        layer('a', 4000, 'unpacking', 4000),
        // the store's last word on a layer has no bytes in it
        layer('a', 1, 'done', 1),
        layer('d', 1, 'done', 1),
      ],
      [],
    )
    expect(stdout).toBe('2 layers: 1 added, 1 shared\n')
    expect(stderr).toContain('bbbbbbbbbbbb  already there')
    expect(stderr).toContain('aaaaaaaaaaaa  4kB')
    expect(stderr).toContain('dddddddddddd  done')
    expect(stderr).not.toContain('cccccccccccc')
  })

  it('shows a layer of unknown length by its amount', async () => {
    const { stderr } = await load([layer('a', 0, 'unpacking'), layer('a', 2500, 'unpacking')], [])
    expect(stderr).toContain('aaaaaaaaaaaa  ====================                      2.5kB')
  })

  it('gives the cursor back when the load fails', async () => {
    const failure = new OverlaidError('ERR_BAD_TAR', 'truncated')
    const { status, stderr } = await load([layer('a', 1, 'unpacking', 2)], [], failure)
    expect(status).toBe(6)
    expect(stderr.lastIndexOf('\u001b[?25h')).toBeGreaterThan(stderr.lastIndexOf('\u001b[?25l'))
    expect(stderr).toMatch(/overlaid:.* truncated\n$/)
  })

  it.each([['--quiet'], ['--json']])('is not shown with %s', async (flag) => {
    const { stderr } = await load([layer('a', 1, 'unpacking', 2)], [flag])
    expect(stderr).toBe('')
  })

  it('is not shown, nor asked for, when stderr is no terminal', async () => {
    let asked = true
    const loadAll = async (_from: unknown, options: object): Promise<object> => {
      asked = 'onProgress' in options
      return report
    }
    const { stderr } = await run(['load', '-i', 'x'], {
      store: { images: { loadAll } },
      terminal: ['stdout'],
    })
    expect([stderr, asked]).toEqual(['', false])
  })
})

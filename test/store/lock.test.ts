import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { keepLocked, tryWithLock, withLock, withSharedLock } from '../../lib/store/lock.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { tempDir } from '../helpers/temp-dir.ts'

function lockPath(): string {
  const dir = tempDir('lock')
  onTestFinished(() => dir[Symbol.dispose]())
  return join(dir.path, 'lock')
}

/** A promise, and what settles it. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open!: () => void
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}

describe.skipIf(missing('hasBinding'))('a lock in one process', () => {
  it('lets one in at a time, in the order they came', async () => {
    const path = lockPath()
    const order: number[] = []
    let inside = 0
    const enter = (n: number) =>
      withLock(path, async () => {
        expect(++inside).toBe(1)
        await new Promise(setImmediate)
        order.push(n)
        inside--
      })
    await Promise.all([1, 2, 3, 4, 5].map(enter))
    expect(order).toEqual([1, 2, 3, 4, 5])
  })

  it('is free again when the work failed', async () => {
    const path = lockPath()
    await expect(withLock(path, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await withLock(path, () => Promise.resolve('in'))).toBe('in')
  })

  it('gives up waiting when aborted, and the next one still gets in', async () => {
    const path = lockPath()
    const { opened, open } = gate()
    const first = withLock(path, () => opened)
    const abort = new AbortController()
    const second = withLock(path, () => Promise.resolve('second'), abort.signal)
    const third = withLock(path, () => Promise.resolve('third'))
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(second).rejects.toBe(reason)
    open()
    await first
    expect(await third).toBe('third')
  })

  it('does not begin when aborted before', async () => {
    const reason = new Error('before')
    await expect(withLock(lockPath(), () => Promise.resolve(), AbortSignal.abort(reason))).rejects.toBe(
      reason,
    )
  })

  it('is not got by trying while someone has it, and is afterwards', async () => {
    const path = lockPath()
    await withLock(path, async () => {
      expect(await tryWithLock(path, () => Promise.resolve(1))).toBeUndefined()
    })
    expect(await tryWithLock(path, () => Promise.resolve(1))).toEqual({ value: 1 })
  })

  it('is taken on a new file when the holder removes the file', async () => {
    const path = lockPath()
    const { opened, open } = gate()
    const first = withLock(path, async () => {
      await opened
      rmSync(path)
    })
    const second = withLock(path, () => Promise.resolve(existsSync(path)))
    open()
    await first
    expect(await second).toBe(true)
  })
})

describe.skipIf(missing('hasBinding'))('a lock that is kept', () => {
  it('is waited for by all but those who say that they need not', async () => {
    const path = lockPath()
    const { opened, open } = gate()
    await withLock(path, () => Promise.resolve(keepLocked(path, opened)))
    expect(await tryWithLock(path, () => Promise.resolve())).toBeUndefined()
    let isIn = false
    const waiting = withLock(path, () => Promise.resolve((isIn = true)))
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
    expect(isIn).toBe(false)
    open()
    await waiting
    expect(await tryWithLock(path, () => Promise.resolve(1))).toEqual({ value: 1 })
  })

  it('lets those in who need not wait, one at a time', async () => {
    const path = lockPath()
    const { opened, open } = gate()
    await withLock(path, () => Promise.resolve(keepLocked(path, opened)))
    let inside = 0
    const enter = () =>
      withSharedLock(path, async () => {
        expect(++inside).toBe(1)
        await new Promise(setImmediate)
        inside--
      })
    await Promise.all([enter(), enter()])
    await using child = startChild(
      `const { tryWithLock } = await lib('store/lock.js')
       await say((await tryWithLock(path, () => 1)) === undefined)
       await told()
       await say((await tryWithLock(path, () => 1)) === undefined)`,
      { path },
    )
    expect(await child.heard()).toBe(true)
    open()
    await withLock(path, () => Promise.resolve())
    child.tell()
    expect(await child.heard()).toBe(false)
  })

  it('is another one where its file was removed', async () => {
    const path = lockPath()
    const { opened, open } = gate()
    await withLock(path, () => Promise.resolve(keepLocked(path, opened)))
    rmSync(path)
    expect(await withSharedLock(path, () => Promise.resolve(existsSync(path)))).toBe(true)
    open()
    expect(await withLock(path, () => Promise.resolve('in'))).toBe('in')
  })

  it('is given up by whoever waits for it, when aborted', async () => {
    const path = lockPath()
    const { opened, open } = gate()
    await withLock(path, () => Promise.resolve(keepLocked(path, opened)))
    const abort = new AbortController()
    const waiting = withLock(path, () => Promise.resolve(), abort.signal)
    abort.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    open()
    expect(await withLock(path, () => Promise.resolve('in'))).toBe('in')
  })

  it('cannot be kept by who has it not', () => {
    expect(() => keepLocked(lockPath(), Promise.resolve())).toThrow('is not locked')
  })
})

describe.skipIf(missing('hasBinding'))('a lock between processes', () => {
  const holder = `
    const { withLock } = await lib('store/lock.js')
    await withLock(path, async () => { await say('in'); await told() })
    await say('out')
  `

  it('keeps others out until its holder is done', async () => {
    const path = lockPath()
    await using child = startChild(holder, { path })
    expect(await child.heard()).toBe('in')
    expect(await tryWithLock(path, () => Promise.resolve())).toBeUndefined()
    let got = false
    const waiting = withLock(path, () => Promise.resolve((got = true)))
    expect(got).toBe(false)
    child.tell()
    await waiting
    expect(await child.heard()).toBe('out')
  })

  it('is free when its holder is killed', async () => {
    const path = lockPath()
    await using child = startChild(holder, { path })
    expect(await child.heard()).toBe('in')
    await child.kill()
    expect(await tryWithLock(path, () => Promise.resolve('mine'))).toEqual({ value: 'mine' })
  })

  it('is given up by whoever waits for another process, when aborted', async () => {
    const path = lockPath()
    await using child = startChild(holder, { path })
    expect(await child.heard()).toBe('in')
    const abort = new AbortController()
    const waiting = withLock(path, () => Promise.resolve(), abort.signal)
    abort.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
  })

  it('counts right when two processes add to a file under it', async () => {
    const path = lockPath()
    const counter = `${path}.counter`
    const adder = `
      const { withLock } = await lib('store/lock.js')
      const fs = await import('node:fs/promises')
      for (let i = 0; i < 100; i++) {
        await withLock(path, async () => {
          const n = Number(await fs.readFile(counter, 'utf8').catch(() => '0'))
          await fs.writeFile(counter, String(n + 1))
        })
      }
      await say(await fs.readFile(counter, 'utf8'))
    `
    await using one = startChild(adder, { path, counter })
    await using two = startChild(adder, { path, counter })
    const totals = [await one.heard(), await two.heard()].map(Number)
    expect(Math.max(...totals)).toBe(200)
  })
})

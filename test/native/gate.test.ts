import { describe, expect, it } from 'vitest'
import { Gate, type Turn } from '../../lib/native/gate.ts'

/** Work that ends when it is told to, and says when it begins. */
class Work {
  readonly begun: string[] = []
  readonly #ends = new Map<string, (error?: Error) => void>()
  readonly #gate: Gate

  constructor(gate: Gate) {
    this.#gate = gate
  }

  start(name: string, turn: Turn = 'begin', signal?: AbortSignal): Promise<string> {
    const work = () => {
      this.begun.push(name)
      return new Promise<string>((resolve, reject) =>
        this.#ends.set(name, (error) => (error === undefined ? resolve(name) : reject(error))),
      )
    }
    return this.#gate.run(turn, work, signal)
  }

  end(name: string, error?: Error): void {
    this.#ends.get(name)?.(error)
  }
}

describe('Gate', () => {
  it('lets no more in than its limit, and the rest in order', async () => {
    const work = new Work(new Gate(2))
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) => work.start(name))
    expect(work.begun).toEqual(['a', 'b'])
    work.end('b')
    await all[1]
    expect(work.begun).toEqual(['a', 'b', 'c'])
    for (const name of ['a', 'c', 'd', 'e']) {
      await Promise.resolve()
      work.end(name)
      await all['abcde'.indexOf(name)]
    }
    expect(work.begun).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  it('is never over its limit, whoever asks when', async () => {
    const gate = new Gate(3)
    let inside = 0
    let most = 0
    const one = async (i: number) => {
      for (let round = 0; round < 20; round++) {
        await gate.run(i % 2 === 0 ? 'begin' : 'end', async () => {
          most = Math.max(most, ++inside)
          await new Promise((resolve) => setImmediate(resolve))
          inside--
        })
      }
    }
    await Promise.all(Array.from({ length: 50 }, (_, i) => one(i)))
    expect([most, inside, gate.waiting]).toEqual([3, 0, 0])
  })

  it('lets what ends something in before what begins something', async () => {
    const work = new Work(new Gate(1))
    const first = work.start('first')
    const rest = [work.start('mount'), work.start('unmount', 'end')]
    work.end('first')
    await first
    expect(work.begun).toEqual(['first', 'unmount'])
    work.end('unmount')
    await rest[1]
    work.end('mount')
    await rest[0]
  })

  it('lets a waiter leave, and takes nobody else along', async () => {
    const gate = new Gate(1)
    const work = new Work(gate)
    const first = work.start('first')
    const leaving = new AbortController()
    const second = work.start('second', 'begin', leaving.signal)
    const third = work.start('third')
    expect(gate.waiting).toBe(2)
    leaving.abort(new Error('no longer'))
    await expect(second).rejects.toThrow('no longer')
    expect(gate.waiting).toBe(1)
    work.end('first')
    await first
    expect(work.begun).toEqual(['first', 'third'])
    work.end('third')
    await third
  })

  it('does not begin for a signal that is aborted, and does not stop for one that comes late', async () => {
    const work = new Work(new Gate(1))
    await expect(work.start('never', 'begin', AbortSignal.abort(new Error('before')))).rejects.toThrow(
      'before',
    )
    const late = new AbortController()
    const first = work.start('first')
    const second = work.start('second', 'begin', late.signal)
    work.end('first')
    await first
    late.abort(new Error('after'))
    work.end('second')
    expect(await second).toBe('second')
    expect(work.begun).toEqual(['first', 'second'])
  })

  it('gives its place back when the work fails', async () => {
    const work = new Work(new Gate(1))
    const first = work.start('first')
    const second = work.start('second')
    work.end('first', new Error('failed'))
    await expect(first).rejects.toThrow('failed')
    work.end('second')
    expect(await second).toBe('second')
  })

  it('runs in the calling thread what fits there, unless somebody is inside', async () => {
    const gate = new Gate(2)
    const work = new Work(gate)
    const done: string[] = []
    const now = (name: string) =>
      gate.now(() => {
        done.push(name)
        return Promise.resolve(name)
      })
    expect(await now('a')).toBe('a')
    const running = work.start('b')
    expect(now('c')).toBeUndefined()
    work.end('b')
    await running
    expect(await now('d')).toBe('d')
    expect(done).toEqual(['a', 'd'])
  })

  it('gives the event loop its turn', async () => {
    const gate = new Gate(2)
    const done: number[] = []
    const now = (i: number) => gate.now(() => Promise.resolve(done.push(i)))
    const asked = [1, 2, 3, 4, 5, 6].map(now)
    // The fifth waits for the next turn, and the sixth would wait for the fifth.
    expect(asked.map((answer) => answer !== undefined)).toEqual([true, true, true, true, true, false])
    for (const answer of asked.slice(0, 4)) await answer
    expect(done).toEqual([1, 2, 3, 4])
    await asked[4]
    expect(done).toEqual([1, 2, 3, 4, 5])
    expect(await now(7)).toBe(6)
  })
})

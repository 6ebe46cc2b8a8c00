import { describe, expect, it } from 'vitest'
import { Undo } from '../../lib/fs/undo.ts'

describe('Undo', () => {
  const steps: string[] = []
  const sync = (name: string): Disposable => ({ [Symbol.dispose]: () => void steps.push(name) })
  const failing = (message: string): AsyncDisposable => ({
    [Symbol.asyncDispose]: () => Promise.reject(new Error(message)),
  })

  it('takes down the last first, all of it, and tells the first failure', async () => {
    steps.length = 0
    const undo = new Undo()
    undo.add(sync('a'))
    undo.add(failing('second'))
    undo.add(sync('b'))
    undo.add(failing('first'))
    await expect(undo[Symbol.asyncDispose]()).rejects.toThrow('first')
    expect(steps).toEqual(['b', 'a'])
    await undo[Symbol.asyncDispose]()
    expect(steps).toEqual(['b', 'a'])
  })

  it('leaves what is kept to who keeps it', async () => {
    steps.length = 0
    let kept: Undo
    {
      await using undo = new Undo()
      undo.add(sync('a'))
      kept = undo.keep()
    }
    expect(steps).toEqual([])
    await kept[Symbol.asyncDispose]()
    expect(steps).toEqual(['a'])
  })
})

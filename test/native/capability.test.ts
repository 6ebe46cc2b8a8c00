/** Programs that are started with one capability less. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native/binding.ts'
import { missing } from '../helpers/gates.ts'

const STATUS = /^(Cap\w+|NoNewPrivs):\s*(\w+)$/gm

function setsIn(status: string): Record<string, bigint> {
  return Object.fromEntries(
    [...status.matchAll(STATUS)].map(([, name = '', hex = '']) => [name, BigInt(`0x${hex}`)]),
  )
}

/** Of this thread: /proc/self is the process' first. */
const own = (): string => readFileSync('/proc/thread-self/status', 'utf8')
const childs = (): string => execFileSync('cat', ['/proc/self/status'], { encoding: 'utf8' })
/** CAP_SYS_ADMIN, which whoever mounts has; a container may lack the one that lib/ withholds. */
const CAPABILITY = 21
const BIT = 1n << BigInt(CAPABILITY)

describe.skipIf(missing('hasBinding', 'canMount'))('withoutCapability', () => {
  it('starts a program with all capabilities but the one', () => {
    const before = setsIn(childs())
    expect((before['CapEff'] ?? 0n) & BIT).toBe(BIT)
    const { CapEff, CapPrm } = setsIn(binding.withoutCapability(CAPABILITY, childs))
    expect(CapEff).toBe((before['CapEff'] ?? 0n) & ~BIT)
    expect(CapPrm).toBe(CapEff)
  })

  it('leaves this thread as it was, and what it starts later', () => {
    const [thread, child] = [setsIn(own()), setsIn(childs())]
    binding.withoutCapability(CAPABILITY, childs)
    expect(setsIn(own())).toEqual(thread)
    expect(setsIn(childs())).toEqual(child)
  })

  it('leaves it so when nothing can be started', () => {
    const thread = setsIn(own())
    const fail = (): never => {
      throw new Error('no program')
    }
    expect(() => binding.withoutCapability(CAPABILITY, fail)).toThrow('no program')
    expect(setsIn(own())).toEqual(thread)
  })

  it('starts a program as it is when the thread has none such', () => {
    const before = setsIn(childs())
    const unknown = 63
    expect(setsIn(binding.withoutCapability(unknown, childs))).toEqual(before)
  })

  it('takes a capability and a function only', () => {
    expect(() => binding.withoutCapability(64, childs)).toThrow(TypeError)
    expect(() => binding.withoutCapability(CAPABILITY, 'sh' as never)).toThrow(TypeError)
  })
})

import { describe, expect, it } from 'vitest'
import { closedBecause, GATES, missing } from './helpers/gates.ts'

describe('gates', () => {
  it('are each found by trying, and printed', () => {
    const table = GATES.map((gate) => `${gate.padEnd(18)} ${closedBecause(gate) ?? 'yes'}`)
    process.stdout.write(`${table.join('\n')}\n`)
    expect(table).toHaveLength(GATES.length)
  })

  it('say nothing is missing when nothing was asked', () => {
    expect(missing()).toBe(false)
  })
})

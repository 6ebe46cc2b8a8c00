import { describe, expect, it } from 'vitest'
import { sectionsOf } from '../scripts/bench-docs.mjs'
import { faster, longer, nearBest, within } from './bench/support/goal.ts'
import { comparisonTable, notes, ratioOf, resultTable } from './bench/support/markdown.mjs'
import type { Metric, Result, Row } from './bench/support/result.ts'
import { median, quantile } from './bench/support/statistics.mjs'

const TIME: Metric = { name: 'time', unit: 'ms', better: 'less' }
const RATE: Metric = { name: 'rate', unit: '1/s', better: 'more' }

function row(name: string, time: readonly number[], rate: readonly number[] = [], build?: string): Row {
  return { name, runs: 'process', values: { time, rate }, ...(build !== undefined && { build }) }
}

function result(rows: readonly Row[], more: Partial<Result> = {}): Result {
  const fixed = {
    id: 'id',
    title: 'title',
    about: 'about',
    base: 'peer',
    machine: 'machine',
    date: '2026-01-01',
  }
  return { ...fixed, metrics: [TIME, RATE], rounds: 3, rows, absent: [], goals: [], ...more }
}

const peer = row('peer', [30, 10, 20], [100])
const ours = row('ours', [4, 6, 5], [50])

describe('a benchmark report', () => {
  it('takes the middle of the rounds', () => {
    expect(median([9, 1, 5])).toBe(5)
    expect(median([4, 1, 3, 2])).toBe(2.5)
    expect(median([])).toBeNaN()
    expect(quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.99)).toBe(10)
  })

  it('gives more than 1 to who is better, whichever way the metric goes', () => {
    expect(ratioOf(ours, peer, TIME)).toBe(4)
    expect(ratioOf(ours, peer, RATE)).toBe(0.5)
  })

  it('shows the base in bold and a dash where nothing was measured', () => {
    const lines = resultTable(result([peer, row('idle', [5])])).split('\n')
    expect(lines[2]).toBe('| **peer** | process | 20.0 | 10.0 to 30.0 | 1.00 | 100 |')
    expect(lines[3]).toBe('| idle | process | 5.00 | 5.00 to 5.00 | 4.00 | – |')
  })

  it('puts two builds beside each other, as what the second did', () => {
    const rows = [row('load', [20], [10], 'v1'), row('load', [10], [5], 'now')]
    const lines = comparisonTable(result(rows)).split('\n')
    expect(lines[0]).toBe('| contender | measured | v1 | now | × v1 |')
    expect(lines[2]).toBe('| load | time, ms | 20.0 (20.0 to 20.0) | 10.0 (10.0 to 10.0) | 2.00 |')
    expect(lines[3]).toBe('| load | rate, 1/s | 10.0 (10.0 to 10.0) | 5.00 (5.00 to 5.00) | 0.50 |')
  })

  it('refuses a comparison with a build that did not run', () => {
    const rows = [row('load', [20], [10], 'v1'), row('save', [10], [5], 'now')]
    expect(() => comparisonTable(result(rows))).toThrow('load ran with one build only')
  })
})

describe('a goal', () => {
  const rows = [peer, ours]

  it('is reached or not by the medians', () => {
    expect(faster('ours', 'peer', 4)(rows)).toMatchObject({ measured: '4.00 ×', reached: true })
    expect(faster('ours', 'peer', 4.1)(rows)).toMatchObject({ reached: false })
    expect(within('ours', ['peer', 'ours'], 0.25)(rows)).toMatchObject({ measured: '0.25 ×', reached: true })
    expect(longer('peer', 'ours', 14, 'ms')(rows)).toMatchObject({ measured: '15 ms', reached: false })
    expect(nearBest('ours', ['ours', 'peer'], 'rate', 0.95)(rows)).toMatchObject({ reached: false })
  })

  it('is not measured without its contender, and then not shown', () => {
    const outcome = faster('ours', 'nobody', 1)(rows)
    expect(outcome).toEqual({ says: 'ours: no slower than nobody' })
    expect(notes(result(rows, { goals: [outcome] }))).toBe('Medians of 3 rounds.')
  })

  it('is not shown of a single round, whoever is missing is', () => {
    const goals = [faster('ours', 'peer', 4)(rows)]
    const absent = [{ name: 'umoci', tool: 'umoci' }]
    expect(notes(result(rows, { goals, absent, rounds: 1 }))).not.toContain('reached')
    expect(notes(result(rows, { goals, absent, rounds: 1 }))).toContain('- left out: umoci: no umoci here')
    expect(notes(result(rows, { goals }))).toContain(
      '- reached: ours: at least 4 times as fast as peer: 4.00 ×',
    )
  })

  it('finds its sections again, each whole, and what is above them in none', () => {
    const page = '# Head\n\ntext\n\n<!-- a -->\n\n## A\n\n| x |\n\n<!-- b-1 -->\n\n## B\n\nlast\n'
    expect([...sectionsOf(page)]).toEqual([
      ['a', '## A\n\n| x |'],
      ['b-1', '## B\n\nlast'],
    ])
    expect(sectionsOf('# Head\n').size).toBe(0)
  })
})

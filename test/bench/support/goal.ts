/** What a benchmark should show. It is reported beside the table; it never makes a run fail. */
import type { Outcome, Row } from './result.ts'
import { median } from './statistics.mjs'

export type Goal = (rows: readonly Row[]) => Outcome

/** The median of a contender, of the first metric or the one that is named. */
type At = (contender: string, metric?: string) => number

interface Bound {
  readonly atLeast?: number
  readonly atMost?: number
  /** After the number: `×` of a ratio. */
  readonly unit: string
}

function goal(says: string, measure: (at: At) => number, { atLeast, atMost, unit }: Bound): Goal {
  return (rows) => {
    const value = measure((contender, metric) => medianOf(rows, contender, metric))
    if (Number.isNaN(value)) return { says }
    const reached = value >= (atLeast ?? -Infinity) && value <= (atMost ?? Infinity)
    return { says, measured: `${value.toFixed(value < 10 ? 2 : 0)} ${unit}`, reached }
  }
}

function medianOf(rows: readonly Row[], contender: string, metric?: string): number {
  const values = rows.find(({ name }) => name === contender)?.values ?? {}
  return median((metric === undefined ? Object.values(values)[0] : values[metric]) ?? [])
}

/** `contender` takes at most `1/factor` of the time of `than`. */
export function faster(contender: string, than: string, factor: number): Goal {
  const how = factor === 1 ? 'no slower than' : `at least ${String(factor)} times as fast as`
  const says = `${contender}: ${how} ${than}`
  return goal(says, (at) => at(than) / at(contender), { atLeast: factor, unit: '×' })
}

/** `contender` takes at most `factor` times as long as the slowest of `than`. */
export function within(contender: string, than: string | readonly string[], factor: number): Goal {
  const all = [than].flat()
  const says = `${contender}: at most ${String(factor)} times the time of ${all.join(' and of ')}, the slower`
  const text = all.length === 1 ? says.replace(', the slower', '') : says
  return goal(text, (at) => at(contender) / Math.max(...all.map((name) => at(name))), {
    atMost: factor,
    unit: '×',
  })
}

/** A metric of `contender` is at most `limit`. */
export function under(contender: string, metric: string, limit: number, unit: string): Goal {
  const says = `${contender}: ${metric} at most ${String(limit)} ${unit}`
  return goal(says, (at) => at(contender, metric), { atMost: limit, unit })
}

/** `contender` takes at most `limit` longer than `than`. */
export function longer(contender: string, than: string, limit: number, unit: string): Goal {
  const says = `${contender}: at most ${String(limit)} ${unit} longer than ${than}`
  return goal(says, (at) => at(contender) - at(than), { atMost: limit, unit })
}

/** The metric of `contender` is at least `share` of the best of `among`. */
export function nearBest(contender: string, among: readonly string[], metric: string, share: number): Goal {
  const says = `${contender}: ${metric} at least ${String(share)} of the best setting's`
  const best = (at: At): number => Math.max(...among.map((name) => at(name, metric)))
  return goal(says, (at) => at(contender, metric) / best(at), { atLeast: share, unit: '×' })
}

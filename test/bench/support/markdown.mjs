/** A result as Markdown: the same table on the console and in docs/benchmarks.md. */
import { median } from './statistics.mjs'

/** @typedef {import('./result.ts').Result} Result */
/** @typedef {import('./result.ts').Row} Row */
/** @typedef {import('./result.ts').Metric} Metric */

/** Three digits or so; a dash where nothing was measured. @param {number} value */
const short = (value) =>
  Number.isFinite(value) ? value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2) : '–'

/** @param {Row} row @param {Metric} metric */
const valuesOf = (row, metric) => row.values[metric.name] ?? []

/**
 * How many times better than `base`: 2 is half of the time, or twice the rate.
 * @param {Row} row
 * @param {Row | undefined} base
 * @param {Metric} metric
 * @returns {number}
 */
export function ratioOf(row, base, metric) {
  const [ours, theirs] = [median(valuesOf(row, metric)), median(base ? valuesOf(base, metric) : [])]
  return metric.better === 'less' ? theirs / ours : ours / theirs
}

/** @param {Row} row @param {Metric} metric */
function range(row, metric) {
  const values = valuesOf(row, metric)
  return `${short(Math.min(...values))} to ${short(Math.max(...values))}`
}

/** @param {readonly (readonly string[])[]} lines The first is the head; the first two columns are text. */
function table(lines) {
  const [head = [], ...rest] = lines
  const rule = head.map((_, i) => (i < 2 ? '---' : '---:'))
  return [head, rule, ...rest].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/**
 * Contenders below each other, with ratios to the base, whose name is bold.
 * @param {Result} result
 * @returns {string}
 */
export function resultTable({ metrics, rows, base }) {
  const [first, ...others] = metrics
  if (first === undefined) throw new RangeError('a result without a metric')
  const titles = others.map(({ name, unit }) => `${name}, ${unit}`)
  const head = ['contender', 'runs', `${first.name}, ${first.unit}`, 'range', '× base', ...titles]
  const baseRow = rows.find(({ name }) => name === base)
  const lines = rows.map((row) => {
    const ratio = ratioOf(row, baseRow, first)
    const cells = [short(median(valuesOf(row, first))), range(row, first), short(ratio)]
    const name = row === baseRow ? `**${row.name}**` : row.name
    return [name, row.runs, ...cells, ...others.map((metric) => short(median(valuesOf(row, metric))))]
  })
  return table([head, ...lines])
}

/**
 * Of a run with `--compare`: each contender's two builds beside each other.
 * @param {Result} result
 * @returns {string}
 */
export function comparisonTable({ metrics, rows }) {
  const builds = [...new Set(rows.map(({ build }) => build ?? ''))]
  const [before = '', after = ''] = builds
  const names = [...new Set(rows.map(({ name }) => name))]
  /** @param {string} name @param {string} build */
  const find = (name, build) => rows.find((row) => row.name === name && row.build === build)
  const lines = names.flatMap((name) =>
    metrics.map((metric) => {
      const [old, now] = [find(name, before), find(name, after)]
      if (old === undefined || now === undefined) throw new Error(`${name} ran with one build only`)
      const medians = [old, now].map(
        (row) => `${short(median(valuesOf(row, metric)))} (${range(row, metric)})`,
      )
      return [name, `${metric.name}, ${metric.unit}`, ...medians, short(ratioOf(now, old, metric))]
    }),
  )
  return table([['contender', 'measured', before, after, `× ${before}`], ...lines])
}

/**
 * What is said below a table: goals, who is missing, rounds.
 * @param {Result} result
 * @returns {string}
 */
export function notes({ goals, absent, rounds }) {
  const outcomes = (rounds === 1 ? [] : goals)
    .filter(({ measured }) => measured !== undefined)
    .map(
      ({ says, measured = '', reached }) =>
        `- ${reached ? 'reached' : '**not reached**'}: ${says}: ${measured}`,
    )
  const missing = absent.map(({ name, tool }) => `- left out: ${name}: no ${tool} here`)
  const turns =
    rounds === 1 ? 'One round: a smoke test, not a measurement.' : `Medians of ${String(rounds)} rounds.`
  return [...outcomes, ...missing, ...(outcomes.length + missing.length > 0 ? [''] : []), turns].join('\n')
}

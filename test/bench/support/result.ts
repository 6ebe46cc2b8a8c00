/** A benchmark's result, as it is kept in bench-results/ and shown in docs/benchmarks.md. */

/**
 * What the clock ran around: `process`, a whole command from its start to its end; `in process`, a call of a library
 * in a program that runs already; `daemon`, a request to a daemon that runs already, by a client of it.
 */
export type Runs = 'process' | 'in process' | 'daemon'

export interface Metric {
  readonly name: string
  readonly unit: string
  readonly better: 'less' | 'more'
}

export interface Row {
  readonly name: string
  readonly runs: Runs
  /** With `--compare`: which build. */
  readonly build?: string
  /** By metric: one value a round. */
  readonly values: Readonly<Record<string, readonly number[]>>
}

/** A goal that was set for a benchmark, and how it came out. */
export interface Outcome {
  readonly says: string
  /** What was measured, with its unit; undefined where a contender was missing. */
  readonly measured?: string
  readonly reached?: boolean
}

export interface Result {
  readonly id: string
  readonly title: string
  readonly about: string
  readonly metrics: readonly Metric[]
  readonly base: string
  readonly rounds: number
  readonly rows: readonly Row[]
  /** Contenders that did not run, and for want of which tool. */
  readonly absent: readonly { readonly name: string; readonly tool: string }[]
  readonly goals: readonly Outcome[]
  readonly machine: string
  readonly date: string
}

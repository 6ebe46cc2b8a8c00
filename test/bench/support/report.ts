/** Prints a result's table and keeps the result as `bench-results/<id>.json`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { GIB } from '../../helpers/sizes.ts'
import { COMPARED } from './builds.ts'
import { isInMemory } from './disk.ts'
import { comparisonTable, notes, resultTable } from './markdown.mjs'
import type { Result } from './result.ts'

const RESULTS = join(import.meta.dirname, '../../../bench-results')
const FOLDER = COMPARED === undefined ? RESULTS : join(RESULTS, 'compare')

/** The machine and its software in a line, so that a number is never without it. */
function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU'
  const distribution = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux'
  const size = `${availableParallelism().toString()} × ${model}, ${(totalmem() / GIB).toFixed(0)} GiB`
  const place = isInMemory() ? 'in memory' : 'on disk'
  return `${size}, kernel ${release()}, ${distribution}, Node ${process.version}, file systems on loop files ${place}`
}

export function report(measured: Omit<Result, 'machine' | 'date'>): void {
  const result: Result = { ...measured, machine: machine(), date: new Date().toISOString() }
  const table = COMPARED === undefined ? resultTable(result) : comparisonTable(result)
  console.log(['', `## ${result.title}`, '', table, '', notes(result), result.machine, ''].join('\n'))
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(join(FOLDER, `${result.id}.json`), `${JSON.stringify(result, undefined, 2)}\n`)
}

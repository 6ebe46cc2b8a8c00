/**
 * A program called zfs for where there is no ZFS: it writes down how it was called, and says what the real one said of
 * the same arguments (test/fixtures/zfs). What was not recorded fails with a status that the real one never has.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tempDir } from './temp-dir.ts'

export interface Recorded {
  readonly args: readonly string[]
  readonly stdout?: string
  /** Only what fails says something there. */
  readonly stderr?: string
  /** What has to be so: the dataset is mounted; a user asks who may not, or the device is shut for one. */
  readonly when?: 'mounted' | 'nobody' | 'shut'
}

const FIXTURE = join(import.meta.dirname, '../fixtures/zfs/commands.json')

export function recorded(): Recorded[] {
  return JSON.parse(readFileSync(FIXTURE, 'utf8')) as Recorded[]
}

export interface Call {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

export interface FakeZfs extends Disposable {
  /** Those so far. */
  calls(): Call[]
}

/** Puts it before all that is in PATH. `answers` are tried in order, each call's own arguments first. */
export function fakeZfs(answers: readonly Recorded[] = recorded()): FakeZfs {
  const dir = tempDir()
  const log = join(dir.path, 'calls')
  writeFileSync(log, '')
  writeFileSync(join(dir.path, 'zfs'), program(answers, log), { mode: 0o755 })
  const before = process.env['PATH'] ?? ''
  process.env['PATH'] = `${dir.path}:${before}`
  return {
    calls: () =>
      readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Call),
    [Symbol.dispose]: () => {
      process.env['PATH'] = before
      dir[Symbol.dispose]()
    },
  }
}

/** An answer is given once where there is another to the same arguments, as the real one's state changes. */
function program(answers: readonly Recorded[], log: string): string {
  return `#!${process.execPath}
const { appendFileSync, readFileSync, writeSync } = require('node:fs')
const args = process.argv.slice(2)
const same = (other) => JSON.stringify(other) === JSON.stringify(args)
const before = readFileSync(${JSON.stringify(log)}, 'utf8').split('\\n').filter((line) => line !== '' && same(JSON.parse(line).args)).length
appendFileSync(${JSON.stringify(log)}, JSON.stringify({ args, env: process.env }) + '\\n')
const answers = ${JSON.stringify(answers)}.filter((answer) => same(answer.args))
const answer = answers[Math.min(before, answers.length - 1)]
if (answer === undefined) {
  writeSync(2, 'not recorded: ' + args.join(' '))
  process.exit(99)
}
writeSync(1, answer.stdout ?? '')
writeSync(2, answer.stderr ?? '')
process.exit(answer.stderr === undefined ? 0 : 1)
`
}

import { EXIT } from '../errors.ts'
import type { CheckProblem } from '../store/check.ts'
import { plural } from './format.ts'
import type { Output } from './output.ts'
import type { Verb } from './verb.ts'

/** `overlaid check` */
export const verb: Verb<[], { deep?: boolean; repair?: boolean }> = {
  options: [
    { flags: '--deep', does: 'read every layer again and compare it with its diffID' },
    { flags: '--repair', does: 'mend what can be mended' },
  ],
  examples: [
    ['check', 'metadata and folders: quick'],
    ['check --deep', 'every byte of every layer'],
    ['check --repair', 'lost links and lower files are made again'],
  ],
  notes:
    'Exit status 6 when there is damage; 0 when there is nothing, or only rubbish that `overlaid gc` removes.',
  async run({ openStore, out, signal }, _args, { deep, repair }) {
    const options = { deep: deep === true, repair: repair === true, signal }
    await using store = await openStore(options.repair ? 'write' : 'read')
    const { ok, problems } = await store.check(options)
    const value = {
      ok,
      problems: problems.map(({ kind, severity, path, detail, repaired }) => {
        return { kind, severity, path, detail, repaired }
      }),
    }
    await out.result(value, () => [...problems.map((problem) => asLine(problem, out)), summary(problems)])
    return ok ? EXIT.ok : EXIT.damaged
  },
}

function asLine({ kind, severity, path, detail, repaired }: CheckProblem, out: Output): string {
  const label = severity === 'damage' ? out.colors.red(severity) : out.colors.yellow(severity)
  return `${label}: ${kind}: ${out.name(path)}: ${out.name(detail)}${repaired ? ' (repaired)' : ''}`
}

function summary(problems: readonly CheckProblem[]): string {
  if (problems.length === 0) return 'clean'
  const repaired = problems.filter((problem) => problem.repaired).length
  return `${plural(problems.length, 'problem')}, ${repaired} repaired`
}

import { EXIT } from '../errors.ts'
import type { ProbeReport } from '../store/probe.ts'
import type { Output } from './output.ts'
import type { Verb } from './verb.ts'

// Not in run(): what a verb does not always need is loaded when it is used.
const importProbe = () => import('../store/probe.ts')

/** `overlaid probe` */
export const verb: Verb<[string | undefined]> = {
  args: [['[dir]', 'any folder, also one that is not there yet (default: the data root)']],
  examples: [
    ['probe', 'which driver the data root gets, why not a better one, and what to do'],
    ['probe /mnt/disk', 'can this disk carry overlay2?'],
    ['--driver vfs probe', 'would this one work?'],
    ['--driver-order 20.10 probe', 'what Docker 20.10 would choose'],
    ['--json probe | jq -r .chosen', 'the driver, for a script'],
  ],
  notes:
    'Tries each driver in a temporary folder that is removed again; run it as root.\n' +
    'Exit status 0 when the store gets a driver better than vfs, or the one named by --driver;\n' +
    '5 when there is only vfs, or none.',
  async run({ root, selection, out }, [dir]) {
    const { probeDrivers } = await importProbe()
    const report = await probeDrivers(dir ?? root, selection)
    await out.result(report, () => lines(report, out))
    const isGood = report.chosen !== undefined && (report.chosen !== 'vfs' || selection.driver === 'vfs')
    return isGood ? EXIT.ok : EXIT.unsupported
  },
}

function lines(report: ProbeReport, out: Output): string[] {
  const { dir, backingFs, drivers, chosen, because } = report
  const { name, magic, dType, device, mountPoint } = backingFs
  const where = device === undefined ? '' : `, ${device} mounted at ${mountPoint ?? ''}`
  return [
    `Directory: ${out.name(dir)}`,
    `Backing Filesystem: ${out.name(`${name} (${magic})${where}`)}`,
    `Supports d_type: ${dType ?? 'unknown'}`,
    'Drivers:',
    ...drivers.flatMap((answer) => answerLines(answer, out)),
    `Chosen: ${chosen ?? 'none'} (${because})`,
  ]
}

function answerLines(answer: ProbeReport['drivers'][number], out: Output): string[] {
  const { name, usable, cost, reason, syscall, errno, remedy } = answer
  const told = {
    cost,
    why: reason,
    failed: syscall === undefined ? undefined : `${syscall}: ${errno ?? ''}`,
    cure: remedy,
  }
  const facts = Object.entries(told).filter(([, text]) => text !== undefined && text !== '')
  return [
    ` ${name}: ${usable ? out.colors.green('usable') : out.colors.red('not usable')}`,
    ...facts.map(([label, text]) => `  ${label}: ${out.name(text ?? '')}`),
  ]
}

/** The builds of overlaid that are measured: this tree's, and with `npm run bench -- --compare REF` that of REF too. */
import { join } from 'node:path'

export interface Build {
  readonly label: string
  /** Where its package.json is; built. */
  readonly root: string
}

const HERE = join(import.meta.dirname, '../../..')

/** The other tree, made by scripts/bench.mjs: `LABEL=PATH`. */
export const COMPARED: Build | undefined = parse(process.env['BENCH_COMPARE'])

export const NOW: Build = { label: 'now', root: HERE }

export const BUILDS: readonly Build[] = COMPARED === undefined ? [NOW] : [COMPARED, NOW]

function parse(text: string | undefined): Build | undefined {
  const at = text?.lastIndexOf('=') ?? -1
  return text === undefined ? undefined : { label: text.slice(0, at), root: text.slice(at + 1) }
}

/** Of this tree's and another's build: the program of the command. */
export function commandOf({ root }: Build): string {
  return join(root, 'dist/cli/main.js')
}

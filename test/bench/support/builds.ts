/** The builds of overlaid that are measured: this tree's, and with `npm run bench -- --compare REF` that of REF too. */
import { readFileSync } from 'node:fs'
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

/** The program of the command, where that tree's package.json says: other commits have it elsewhere. */
export function commandOf({ root }: Build): string {
  const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    bin: { overlaid: string }
  }
  return join(root, bin.overlaid)
}

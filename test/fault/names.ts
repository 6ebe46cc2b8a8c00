/** The failpoints of the source. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const lib = join(import.meta.dirname, '../../lib')

/** Their names: one that no workload reaches proves nothing. */
export function failpoints(): string[] {
  return [...source().matchAll(/\bfailpoint\('([^']+)'\)/g)].map(([, name = '']) => name).sort()
}

/** How many calls there are, whatever their argument looks like. */
export function calls(): number {
  return [...source().matchAll(/(?<!function )\bfailpoint\(/g)].length
}

function source(): string {
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  return files.map((file) => readFileSync(join(lib, file), 'utf8')).join('\n')
}

import { readFileSync } from 'node:fs'

/** This package's version. Its package.json is as far from lib/cli as from dist/cli. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** What the README shows, run as it stands there: whoever copies it gets what it says. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { demoImages } from '../../scripts/demo-images.mjs'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { COMMAND } from './support/command.ts'

const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8')
const dist = join(import.meta.dirname, '../../dist')

/** The README's only block in this language. */
function block(language: string): string {
  const blocks = [...readme.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].filter(([, name]) => name === language)
  expect(blocks).toHaveLength(1)
  return blocks[0]?.[2] ?? ''
}

describe.skipIf(missing('canMount', 'hasRunc', 'hasAptGet'))('the README', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'overlaid-readme-'))
  watchLeaks(() => [scratch])
  let archive = ''

  /** Runs a script with the built command on the PATH. */
  function sh(script: string): string {
    const PATH = `${join(scratch, 'bin')}:${process.env['PATH'] ?? ''}`
    const env = { PATH, OVERLAID_ROOT: join(scratch, 'root') }
    const result = spawnSync('sh', ['-euc', script], { cwd: scratch, env, encoding: 'utf8' })
    expect(result.status, result.stderr).toBe(0)
    return result.stdout
  }

  beforeAll(async () => {
    mkdirSync(join(scratch, 'bin'))
    const shim = `#!/bin/sh\nexec ${process.execPath} ${COMMAND} "$@"\n`
    writeFileSync(join(scratch, 'bin/overlaid'), shim, { mode: 0o755 })
    archive = (await demoImages()).find(({ file }) => file.includes('python'))?.file ?? ''
    sh(`overlaid load -i ${archive}; overlaid create --name web python:demo`)
  }, 300_000)
  afterAll(() => rmSync(scratch, { recursive: true, force: true }))

  it('starts a process by chroot', () => {
    expect(sh(`chroot "$(overlaid mount web)" python3 -c 'print("hello")'; overlaid unmount web`)).toMatch(
      /^hello$/m,
    )
  })

  it('starts a container by runc', () => {
    expect(sh(block('bash'))).toMatch(/^hello$/m)
  })

  it('mounts and commits by the library', () => {
    const code = `import { writeFileSync } from 'node:fs'\n${block('ts')}`
      .replace("'overlaid'", `'${join(dist, 'index.js')}'`)
      .replace('/var/lib/overlaid', join(scratch, 'library'))
      .replace('alpine.tar', archive)
      // A line of its own: the example has no semicolons.
      .replace('for await', "writeFileSync(`${root.path ?? ''}/new`, '');\nfor await")
    const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
    writeFileSync(
      join(scratch, 'example.mjs'),
      ts.transpile(`${code}\nconsole.log(committed.names)`, options),
    )
    expect(sh(`${process.execPath} example.mjs`)).toBe("A /new\n[ 'mine:latest' ]\n")
  })
})

/**
 * Other processes that use the built library, told what to do by the test:
 *
 *     await using child = startChild(`
 *       const store = await Store.open(root)
 *       say('open')
 *       await told()
 *     `, { root })
 *     expect(await child.heard()).toBe('open')
 *     child.tell()
 *
 * The code is the body of an async function. It has `overlaid` (the library's exports), `Store`, `lib(path)` to import
 * any built module, the parameters by name, `say(value)` to send a value, and `told()` to wait for the test.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** Where `npm run build` puts the library. */
const DIST: string = process.env['OVERLAID_DIST'] ?? join(import.meta.dirname, '../../dist')

export interface Child extends AsyncDisposable {
  readonly pid: number
  /** The next value that the child says. Rejects, with its stderr, when it ended without saying anything more. */
  heard(): Promise<unknown>
  /** Lets the child go on after told(). */
  tell(): void
  /** Kills it with SIGKILL and waits for its end. */
  kill(): Promise<void>
  /** Waits for its end: its exit code, or the signal's name. */
  ended(): Promise<number | string>
}

export function startChild(
  code: string,
  parameters: Readonly<Record<string, unknown>> = {},
  env: Readonly<Record<string, string>> = {},
): Child {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program(code, parameters)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let errors = ''
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()))
  const ended = endOf(child)
  return {
    pid: child.pid ?? 0,
    async heard() {
      const { done, value } = await lines.next()
      if (done === true) throw new Error(`the child ended (${String(await ended)}): ${errors}`)
      return JSON.parse(value) as unknown
    },
    tell: () => void child.stdin.write('\n'),
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    ended: () => ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function endOf(child: ChildProcess): Promise<number | string> {
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return code ?? signal ?? 'unknown'
}

function program(code: string, parameters: Readonly<Record<string, unknown>>): string {
  const names = Object.keys(parameters)
  return `
    import { createInterface } from 'node:readline'
    const lib = (path) => import(${JSON.stringify(`${DIST}/`)} + path)
    const overlaid = await lib('index.js')
    const { Store } = overlaid
    const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
    const told = () => lines.next()
    const say = (value) => new Promise((done) => process.stdout.write(JSON.stringify(value ?? null) + '\\n', done))
    const { ${names.join(', ')} } = ${JSON.stringify(parameters)}
    await (async () => { ${code} })()
    process.stdin.destroy()
  `
}

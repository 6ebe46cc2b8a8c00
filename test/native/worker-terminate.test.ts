import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { encoded } from '../helpers/ops.ts'
import { missing } from '../helpers/gates.ts'

/**
 * A worker that is terminated while calls of the addon are under way must not take the process with it: without
 * NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS (binding.gyp) a promise that is settled during the teardown aborts it.
 * In a process of its own, since the failure is an abort.
 */
describe.skipIf(missing('hasBinding'))('a worker thread', () => {
  it('can be terminated in mid-call', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], { timeout: 300_000 })
    expect(stdout.trim()).toBe('40 workers terminated')
  }, 300_000)
})

const root = JSON.stringify(join(import.meta.dirname, '../..'))

const code = encoded({ op: 'meta', path: 'nowhere/x' })
// So many that they have a thread of their own.
const file = {
  op: 'file',
  path: 'nowhere/x',
  data: [Buffer.alloc(9)],
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
} as const
const manyFiles = encoded(...Array.from({ length: 30 }, () => file))

const program = `
  const { Worker } = require('node:worker_threads')
  const body = \`
    const addon = require(${root} + '/node_modules/node-gyp-build')(${root})
    const { parentPort } = require('node:worker_threads')
    const fd = require('node:fs').openSync('/', 'r')
    const etc = require('node:fs').openSync('/etc', 'r')
    async function loop(call) { for (;;) await call().catch(() => {}) }
    for (const call of [
      () => addon.statfs('/'),
      () => addon.umount2('/nowhere', 0),
      () => addon.getdents64(fd),
      () => addon.scandirat(-100, '/etc', { xattrs: true }),
      () => addon.fileops(fd, Buffer.from('${code}', 'base64'), []),
      () => addon.fileops(fd, Buffer.from('${manyFiles}', 'base64'), Array.from({ length: 30 }, () => Buffer.alloc(9))),
      () => addon.tarSplitLines(Buffer.alloc(9), new Uint32Array(0), 'x', 0, 0, Buffer.alloc(9)),
      () => addon.sumsUpdate(addon.sumsNew(), Buffer.alloc(9), 0, new Uint32Array([1, 2]), false),
      () => addon.walkNext(addon.walkStart(etc, { xattrs: true, bodies: 4096 })),
      () => addon.umount2In(fd, '/nowhere', 0),
    ]) loop(call)
    parentPort.postMessage('running')
  \`
  async function main() {
    for (let i = 0; i < 40; i++) {
      const worker = new Worker(body, { eval: true })
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
      // A different moment of the loop each time.
      for (let turn = 0; turn < i; turn++) await new Promise(setImmediate)
      await worker.terminate()
    }
    console.log('40 workers terminated')
  }
  main()
`

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encoded } from '../helpers/ops.ts'
import { missing } from '../helpers/gates.ts'
import { tempDir } from '../helpers/temp-dir.ts'

/** A seccomp filter of before 5.6 answers openat2 with ENOSYS or EPERM; strace can answer for the kernel. */
describe.skipIf(missing('hasBinding', 'hasStrace'))('where openat2 is blocked', () => {
  it.each(['ENOSYS', 'EPERM'])('with %s, the fallback is used', (errno) => {
    using temp = tempDir('blocked')
    mkdirSync(join(temp.path, 'usr/bin'), { recursive: true })
    symlinkSync('/usr/bin', join(temp.path, 'bin'))
    const log = join(temp.path, 'log')
    const inject = ['-f', '-qq', '-o', log, '-e', 'trace=openat2', '-e', `inject=openat2:error=${errno}`]
    const stdout = execFileSync('strace', [...inject, process.execPath, '-e', program(temp.path)], {
      encoding: 'utf8',
    })
    expect(stdout.trim()).toBe('EEXIST ENOENT')
    expect(existsSync(join(temp.path, 'usr/bin/sh'))).toBe(true)
    expect(existsSync(join(temp.path, 'tree'))).toBe(false)
  })
})

const META = { mode: 0o755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0 }

const root = JSON.stringify(join(import.meta.dirname, '../..'))

/** Writes through a link, removes a tree, and prints the codes of O_CREAT | O_EXCL on a file and of a missing one. */
function program(dir: string): string {
  const code = encoded({ op: 'file', path: 'bin/sh', data: [], ...META })
  return `
    const addon = require(${root} + '/node_modules/node-gyp-build')(${root})
    const { mkdirSync, openSync } = require('node:fs')
    const fd = openSync(${JSON.stringify(dir)}, 'r')
    const code = (promise) => promise.then(() => 'ok', (error) => error.code)
    async function main() {
      await addon.fileops(fd, Buffer.from('${code}', 'base64'), [])
      mkdirSync(${JSON.stringify(dir)} + '/tree/a/b', { recursive: true })
      await addon.removeTree(fd, 'tree')
      const exists = await code(addon.openInRoot(fd, 'bin/sh', 0o301, 0o600))
      console.log(exists, await code(addon.openInRoot(fd, 'no', 0, 0)))
    }
    main()
  `
}

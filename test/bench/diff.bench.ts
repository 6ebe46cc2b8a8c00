/**
 * An upper directory as a tar, and as a list of changes: the library in a process that runs already, GNU tar as a
 * process of its own. Times are in whole seconds, as in files that came from an image: else GNU tar's archive has a
 * PAX header for each file, and twice the bytes.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { GIB } from '../helpers/sizes.ts'
import { dumpTree } from '../helpers/tree.ts'
import { report, ROUNDS, type Row } from './report.ts'

const MS = 1e6
const BASE = 'a'.repeat(64)
const TOP = 'b'.repeat(64)
const WHOLE_SECONDS = 1_700_000_000

/** 50,000 files of 20 to 420 bytes in 500 folders. */
function smallFiles(diff: string): void {
  for (let folder = 0; folder < 500; folder++) {
    const path = join(diff, `folder-${String(folder)}`)
    mkdirSync(path)
    for (let i = 0; i < 100; i++) {
      const file = join(path, `file-${String(i)}`)
      writeFileSync(file, Buffer.alloc(20 + ((i * 37) % 400), 0x41 + (i % 26)))
      utimesSync(file, WHOLE_SECONDS, WHOLE_SECONDS)
    }
    utimesSync(path, WHOLE_SECONDS, WHOLE_SECONDS)
  }
}

function largeFile(diff: string): void {
  const file = join(diff, 'file')
  execFileSync('sh', ['-c', 'head -c "$0" /dev/urandom > "$1"', String(GIB), file])
  utimesSync(file, WHOLE_SECONDS, WHOLE_SECONDS)
}

/** Runs the library in a process of its own; gives what it printed and the milliseconds of the run. */
function once(...args: string[]): { lines: string[]; taken: number } {
  const script = join(import.meta.dirname, 'diff-once.mjs')
  const printed = execFileSync(process.execPath, [script, ...args], { encoding: 'utf8', maxBuffer: GIB })
  const lines = printed.trimEnd().split('\n')
  return { taken: Number(lines.pop()) / MS, lines }
}

/** Writes the archive of `home`'s layer to `out`; gives the milliseconds. */
type Contender = (home: string, out: string) => number

function gnuTar(home: string, out: string): number {
  const names = ['--xattrs', '--pax-option=delete=atime,delete=ctime', '--sort=name', '--numeric-owner']
  const start = process.hrtime.bigint()
  execFileSync('tar', ['-C', join(home, TOP, 'diff'), ...names, '-cf', out, '.'])
  return Number(process.hrtime.bigint() - start) / MS
}

const overlaid =
  (mode: string): Contender =>
  (home, out) =>
    once(mode, home, TOP, BASE, out).taken

const CONTENDERS: Readonly<Record<string, Contender>> = {
  'GNU tar': gnuTar,
  'overlaid, to a descriptor': overlaid('file'),
  'overlaid, a stream': overlaid('stream'),
  'overlaid, a stream and its sha256': overlaid('sha256'),
}

async function treeOf(tar: string, dir: string): Promise<string[]> {
  mkdirSync(dir)
  execFileSync('tar', ['-xpf', tar, '--xattrs', '--xattrs-include=*', '--numeric-owner', '-C', dir])
  const found = await dumpTree(dir, { nanoseconds: false, root: false })
  rmSync(dir, { recursive: true })
  return found
}

it.each([
  ['50,000 changed files', 'diff-small', smallFiles],
  ['one file of 1 GiB', 'diff-large', largeFile],
] as const)('diff of %s', async (title, id, fill) => {
  using disk = loopFileSystem('ext4', 6 * GIB)
  const home = join(disk.dir, 'overlay2')
  const driver = openOverlay2(home, { durability: 'none' })
  await driver.create(BASE, undefined)
  await driver.createReadWrite(TOP, BASE)
  fill(join(home, TOP, 'diff'))
  execFileSync('sync', ['-f', disk.dir])
  const rows: Row[] = Object.keys(CONTENDERS).map((name) => ({ name, values: [] }))
  const out = join(disk.dir, 'out.tar')
  let reference: { tree: string[]; size: number } | undefined
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, values } of rows) {
      ;(values as number[]).push(CONTENDERS[name]?.(home, out) ?? NaN)
      if (round === 0) {
        // What is fast and wrong is no contender. Like for like is the size too, but for tar's 20-block records.
        const size = statSync(out).size
        const tree = await treeOf(out, join(disk.dir, 'again'))
        reference ??= { tree, size }
        expect(tree).toEqual(reference.tree)
        expect(Math.abs(size - reference.size)).toBeLessThan(20_480)
      }
      // Written back before the next one is timed.
      rmSync(out)
      execFileSync('sync', ['-f', disk.dir])
    }
  }
  report(id, `diff of ${title}`, 'ms', rows, 'GNU tar')
})

/** 57,000 files in 570 folders, and of them 34 deleted and 33 changed, with 33 new ones. */
async function manyFiles(home: string): Promise<void> {
  const driver = openOverlay2(home, { durability: 'none' })
  await driver.create(BASE, undefined)
  for (let folder = 0; folder < 570; folder++) {
    const path = join(home, BASE, 'diff', `dir-${String(folder)}`)
    mkdirSync(path)
    for (let i = 0; i < 100; i++) writeFileSync(join(path, `file-${String(i)}`), 'x'.repeat(i))
  }
  await driver.createReadWrite(TOP, BASE)
  const root = await driver.get(TOP)
  for (let i = 0; i < 100; i++) {
    const path = join(root, `dir-${String(i * 5)}`, `file-${String(i)}`)
    if (i % 3 === 0) rmSync(path)
    else if (i % 3 === 1) writeFileSync(path, `${readFileSync(path, 'utf8')} changed`)
    else writeFileSync(`${path}-new`, 'new')
  }
  await driver.put(TOP)
}

it('the list of 100 changes over 57,000 files', async () => {
  using disk = loopFileSystem('ext4', GIB)
  const home = join(disk.dir, 'overlay2')
  await manyFiles(home)
  const rows: Row[] = ['two-walks', 'changes'].map((name) => ({ name, values: [] }))
  let reference: string[] | undefined
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, values } of rows) {
      const { lines, taken } = once(name, home, TOP, BASE)
      ;(values as number[]).push(taken)
      reference ??= lines
      expect(lines).toEqual(reference)
    }
  }
  report('diff-changes', 'list of 100 changes over 57,000 files', 'ms', rows, 'two-walks')
})

/**
 * One layer from an archive to files: the library in a process that runs already, GNU tar as a process of its own,
 * each on a file system of its own. Ours makes the digests and the tar-split record on the way.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { packLayer, writeDockerArchive, type Layer } from '../../scripts/docker-archive.mjs'
import { debianImage } from '../fixtures/images/debian.mjs'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { GIB } from '../helpers/sizes.ts'
import { dumpTree } from '../helpers/tree.ts'
import { report, ROUNDS, type Row } from './report.ts'

const MS = 1e6
const SMALL_FILES = 50_000
const FOLDERS = 500

let scratch: string
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'overlaid-bench-apply-'))
})
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

/** The base layer of the Debian image: 6,700 entries. */
async function debianBase(): Promise<string> {
  const tar = join(scratch, 'base.tar')
  const image = await debianImage()
  const [name = ''] = execFileSync('tar', ['-tf', image], { encoding: 'utf8' })
    .split('\n')
    .filter((path) => path.endsWith('.tar'))
  execFileSync('sh', ['-c', 'tar -xOf "$0" "$1" > "$2"', image, name, tar])
  return tar
}

async function smallFiles(): Promise<string> {
  const dir = join(scratch, 'small')
  for (let folder = 0; folder < FOLDERS; folder++) {
    const path = join(dir, `folder-${String(folder)}`)
    mkdirSync(path, { recursive: true })
    for (let i = 0; i < SMALL_FILES / FOLDERS; i++) writeFileSync(join(path, `file-${String(i)}`), String(i))
  }
  return packed('small', dir)
}

async function largeFile(): Promise<string> {
  const dir = join(scratch, 'large')
  mkdirSync(dir)
  execFileSync('sh', ['-c', 'head -c "$0" /dev/urandom > "$1"', String(GIB), join(dir, 'file')])
  return packed('large', dir)
}

async function packed(name: string, dir: string): Promise<string> {
  const tar = join(scratch, `${name}.tar`)
  await packLayer(name, dir, tar)
  rmSync(dir, { recursive: true })
  return tar
}

async function archiveOf(tar: string): Promise<string> {
  const file = join(scratch, 'image.tar')
  const sum = execFileSync('sha256sum', [tar], { encoding: 'utf8' }).slice(0, 64)
  const layer: Layer = { tar, diffID: sum, name: 'bench' }
  writeDockerArchive(file, 'bench:1', [layer])
  return file
}

/** Runs in `dir` on a fresh file system; gives the milliseconds and where the files are. */
type Contender = (dir: string) => { taken: number; files: string }

function gnuTar(tar: string): Contender {
  return (dir) => {
    const files = join(dir, 'files')
    mkdirSync(files)
    const start = process.hrtime.bigint()
    execFileSync('tar', ['-xpf', tar, '--xattrs', '--xattrs-include=*', '--numeric-owner', '-C', files])
    return { taken: Number(process.hrtime.bigint() - start) / MS, files }
  }
}

function overlaid(archive: string, durability: string): Contender {
  return (dir) => {
    const script = join(import.meta.dirname, 'apply-once.mjs')
    const root = join(dir, 'root')
    const out = execFileSync(process.execPath, [script, root, archive, durability], { encoding: 'utf8' })
    const home = join(root, 'overlay2')
    const [id = ''] = readdirSync(home).filter((name) => name.length === 64)
    return { taken: Number(out) / MS, files: join(home, id, 'diff') }
  }
}

it.each([
  ['a Debian base system', 'apply-debian', debianBase],
  ['50,000 small files', 'apply-small', smallFiles],
  ['one file of 1 GiB', 'apply-large', largeFile],
] as const)('apply %s', async (title, id, makeTar) => {
  const tar = await makeTar()
  const archive = await archiveOf(tar)
  const contenders = {
    'GNU tar': gnuTar(tar),
    'overlaid, durability none': overlaid(archive, 'none'),
    'overlaid, durability full': overlaid(archive, 'full'),
  }
  const rows: Row[] = Object.keys(contenders).map((name) => ({ name, values: [] }))
  let reference: string[] | undefined
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, values } of rows) {
      // ext4 re-uses inodes slowly for a minute after a deletion: a fresh file system for each run.
      using disk = loopFileSystem('ext4', 4 * GIB)
      const { taken, files } = contenders[name as keyof typeof contenders](disk.dir)
      ;(values as number[]).push(taken)
      if (round > 0) continue
      // What is fast and wrong is no contender.
      const tree = await dumpTree(files)
      reference ??= tree
      expect(tree).toEqual(reference)
    }
  }
  rmSync(tar)
  rmSync(archive)
  report(id, `apply of ${title}`, 'ms', rows, 'GNU tar')
})

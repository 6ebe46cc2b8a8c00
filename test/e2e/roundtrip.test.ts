/** What is loaded comes out again byte for byte, whoever wrote the layers. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DEBIAN_NAME, debianImage } from '../fixtures/images/debian.mjs'
import { type Gate, missing } from '../helpers/gates.ts'
import { buildImage, dockerArchive, sha256 } from '../helpers/image.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'
import { json, overlaid } from './support/command.ts'

interface Writer {
  readonly name: string
  readonly gate: Gate
  /** The command that writes an archive of the folder (its last argument) on its stdout. */
  readonly command: readonly string[]
}

const PYTHON = String.raw`
import sys, tarfile
out = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, sys.argv[1]), encoding='utf-8',
                   errors='surrogateescape')
out.add(sys.argv[2], arcname='.')
out.close()
`

const gnu = (format: string, ...more: string[]): Writer => ({
  name: `GNU tar, ${[format, ...more].join(' ')}`,
  gate: 'hasGnuTar',
  command: ['tar', '-c', `--format=${format}`, '--warning=no-file-ignored', ...more, '-f', '-', '.', '-C'],
})
const bsd = (format: string): Writer => ({
  name: `bsdtar, ${format}`,
  gate: 'hasBsdtar',
  command: ['bsdtar', '-c', `--format=${format}`, '-f', '-', '-C'],
})
const python = (format: string): Writer => ({
  name: `Python's tarfile, ${format}`,
  gate: 'hasPython',
  command: ['python3', '-c', PYTHON, format],
})

const WRITERS: readonly Writer[] = [
  gnu('gnu'),
  gnu('posix'),
  gnu('posix', '--xattrs', '--xattrs-include=*'),
  gnu('posix', '--sparse'),
  gnu('gnu', '--sparse'),
  gnu('ustar'),
  gnu('v7'),
  bsd('pax'),
  bsd('ustar'),
  bsd('gnutar'),
  python('GNU_FORMAT'),
  python('PAX_FORMAT'),
  python('USTAR_FORMAT'),
]

/** A tree with what archivers write in different ways. ustar and v7 leave out what they can't say. */
const TREE = String.raw`
mkdir -p bin etc empty var/deep
echo tool > bin/tool && chmod 4755 bin/tool && chown 12:34 bin/tool
ln bin/tool bin/linked && ln -s ../bin/tool etc/symlink && ln -s "$(printf 't%.0s' $(seq 150))" etc/long-target
mkfifo var/fifo && mknod var/null c 1 3 && mknod var/loop b 7 1
seq 100000 > var/numbers && : > var/nothing && printf x > var/one && head -c 512 /dev/zero > var/block
truncate -s 3M var/sparse && printf end >> var/sparse && printf middle | dd of=var/sparse bs=1 seek=1M conv=notrunc status=none
long=$(printf 'n%.0s' $(seq 110)); mkdir -p "var/deep/$long" && echo deep > "var/deep/$long/$long"
echo utf > 'etc/Ünïcödé' && echo bytes > "$(printf 'etc/latin-\351')" && echo space > 'etc/two words'
echo big > etc/big-id && chown 3000000:3000000 etc/big-id
setfattr -n user.note -v note etc/big-id
touch -d '2001-02-03T04:05:06.789Z' etc/symlink var/one && touch -d '1965-01-01' var/nothing
`

let temp: TempDir
let treeDir: string

beforeAll(() => {
  temp = tempDir('roundtrip')
  treeDir = join(temp.path, 'tree')
  mkdirSync(treeDir)
  execFileSync('sh', ['-ec', TREE], { cwd: treeDir, stdio: 'pipe' })
})
afterAll(() => temp[Symbol.dispose]())

/** What the archiver writes. ustar and v7 complain of what they leave out with status 1 or 2, and go on. */
function pack([program = '', ...args]: readonly string[]): Buffer {
  const last = args.at(-1) === '-C' ? [treeDir, '.'] : [treeDir]
  const argv = program === 'tar' ? [...args.slice(0, -2), '-C', treeDir, '.'] : [...args, ...last]
  try {
    return execFileSync(program, argv, { maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    const { stdout, status } = error as { stdout: Buffer; status: number | null }
    if (status !== null && stdout.length > 0) return stdout
    throw error
  }
}

/** The layers of an archive that `save` wrote, by its manifest, unpacked with GNU tar. */
function savedLayers(file: string, dir: string): string[] {
  mkdirSync(dir)
  execFileSync('tar', ['-xf', file, '-C', dir])
  const [manifest] = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as { Layers: string[] }[]
  return (manifest?.Layers ?? []).map((name) => join(dir, name))
}

const digestOf = (file: string): string => sha256(readFileSync(file))

/** Saves, loads into another root, and saves that: the layers of both archives. */
async function saveTwice(root: string, dir: string, name: string, format: string): Promise<string[][]> {
  const once = join(dir, `${format}-1.tar`)
  const again = join(dir, `${format}-2.tar`)
  const expectOK = async (where: string, ...argv: string[]): Promise<void> => {
    expect(await overlaid(where, argv)).toMatchObject({ status: 0 })
  }
  await expectOK(root, 'save', '--format', format, '-o', once, name)
  await expectOK(`${root}-2`, '--quiet', 'load', '-i', once)
  await expectOK(`${root}-2`, 'save', '--format', 'docker', '-o', again, name)
  await expectOK(root, 'save', '--format', 'docker', '-o', `${again}.first`, name)
  return [savedLayers(`${again}.first`, `${again}.a`), savedLayers(again, `${again}.b`)]
}

describe.skipIf(missing('canMount', 'canMknod', 'canChown'))('save after load', () => {
  it.each(WRITERS)('gives the layer that $name wrote', async ({ gate, command }) => {
    if (missing(gate)) return
    using work = tempDir('roundtrip')
    const layer = pack(command)
    const image = buildImage({ layers: [layer], names: ['image:1'] })
    writeFileSync(join(work.path, 'image.tar'), dockerArchive([image]))
    const root = join(work.path, 'root')
    expect(await json(root, 'load', '-i', join(work.path, 'image.tar'))).toMatchObject({
      images: [{ id: image.id }],
    })
    for (const format of ['docker', 'oci']) {
      const saved = await saveTwice(root, work.path, 'image:1', format)
      expect(saved.flat().map(digestOf)).toEqual([image.layers[0]?.diffID, image.layers[0]?.diffID])
    }
  })

  it.skipIf(missing('hasGo'))("gives the layer that Go's archive/tar wrote", async () => {
    using work = tempDir('roundtrip')
    const layer = execFileSync(
      'go',
      ['run', join(import.meta.dirname, '../fixtures/tar/archive.go'), treeDir],
      {
        env: { ...process.env, GO111MODULE: 'off', GOCACHE: join(work.path, 'cache') },
        maxBuffer: 1 << 28,
      },
    )
    const image = buildImage({ layers: [layer], names: ['image:1'] })
    writeFileSync(join(work.path, 'image.tar'), dockerArchive([image]))
    const root = join(work.path, 'root')
    await json(root, 'load', '-i', join(work.path, 'image.tar'))
    const saved = await saveTwice(root, work.path, 'image:1', 'docker')
    expect(saved.flat().map(digestOf)).toEqual([image.layers[0]?.diffID, image.layers[0]?.diffID])
  })

  it.skipIf(missing('hasMmdebstrap'))(
    'gives the layers of a real image, in an archive that skopeo takes',
    async () => {
      using work = tempDir('roundtrip')
      const root = join(work.path, 'root')
      await json(root, 'load', '-i', await debianImage())
      const { layers } = await json<{ layers: string[] }[]>(root, 'images').then(
        ([image]) => image ?? { layers: [] },
      )
      for (const format of ['docker', 'oci']) {
        const saved = await saveTwice(root, work.path, DEBIAN_NAME, format)
        expect(saved.map((files) => files.map(digestOf))).toEqual([layers, layers])
      }
      if (missing('hasSkopeo')) return
      const source = `oci-archive:${join(work.path, 'oci-1.tar')}`
      const inspected = execFileSync('skopeo', ['inspect', '--config', source], { encoding: 'utf8' })
      expect(JSON.parse(inspected)).toMatchObject({ rootfs: { diff_ids: layers } })
    },
  )

  it('gives the same archive each time', async () => {
    using work = tempDir('roundtrip')
    const root = join(work.path, 'root')
    const image = buildImage({ layers: [pack(['tar', '-c', '-f', '-', '.', '-C'])], names: ['image:1'] })
    writeFileSync(join(work.path, 'image.tar'), dockerArchive([image]))
    await json(root, 'load', '-i', join(work.path, 'image.tar'))
    const hashes = []
    for (const format of ['docker', 'docker', 'oci', 'oci']) {
      const { bytes } = await overlaid(root, ['save', '--format', format, 'image:1'])
      hashes.push(createHash('sha256').update(bytes).digest('hex'))
    }
    expect(new Set(hashes).size).toBe(2)
    expect(hashes[0]).toBe(hashes[1])
    expect(hashes[2]).toBe(hashes[3])
  })
})

/** Archives of other tars, read by ours, and ours read by them. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { extract, pack } from 'tar-stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeTar } from '../../lib/tar/writer.ts'
import { missing } from '../helpers/gates.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { expand, readAll, type ReadMember } from '../helpers/tar.ts'

const MTIME = 1_600_000_000
/** Between the runs of the sparse file: holes need whole blocks. */
const STRIDE = 65_536
const LONG_DIR = `${'d'.repeat(80)}/${'e'.repeat(80)}`
const LONG_LINK = `${'t'.repeat(90)}/${'u'.repeat(90)}`

let dir: string
let tree: string

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'overlaid-formats-'))
  tree = join(dir, 'tree')
  makeTree()
})
afterAll(() => {
  rmSync(dir, { recursive: true })
})

function makeTree(): void {
  mkdirSync(join(tree, LONG_DIR), { recursive: true })
  writeFileSync(join(tree, 'hello'), 'hello\n')
  writeFileSync(join(tree, 'empty'), '')
  writeFileSync(join(tree, 'big'), Buffer.alloc(70_000, 'b'))
  writeFileSync(join(tree, LONG_DIR, `${'f'.repeat(90)}`), 'long')
  writeFileSync(join(tree, 'ünïcode'), 'u')
  symlinkSync('hello', join(tree, 'link'))
  symlinkSync(LONG_LINK, join(tree, 'long-link'))
  linkSync(join(tree, 'hello'), join(tree, 'other-hello'))
  chmodSync(join(tree, 'hello'), 0o4711)
  const sparse = openSync(join(tree, 'sparse'), 'w')
  for (let i = 0; i < 60; i++) writeSync(sparse, `run ${String(i)}`, i * STRIDE)
  ftruncateSync(sparse, 70 * STRIDE)
  for (const name of ['hello', 'empty', 'big', 'ünïcode', 'sparse', '.'])
    utimesSync(join(tree, name), MTIME, MTIME)
  lutimesSync(join(tree, 'link'), MTIME, MTIME)
}

const byName = (members: readonly ReadMember[]) =>
  new Map(members.map((m) => [m.header.name.toString().replace(/^\.\//, '').replace(/\/$/, ''), m]))

/** Compares what was read with the tree on disk. */
function expectTree(members: readonly ReadMember[], skipped: readonly string[] = []): void {
  const found = byName(members)
  const names = [
    'hello',
    'empty',
    'big',
    'ünïcode',
    'sparse',
    'link',
    'long-link',
    'other-hello',
    `${LONG_DIR}/${'f'.repeat(90)}`,
  ]
  for (const name of names.filter((n) => !skipped.includes(n))) expect([...found.keys()]).toContain(name)
  for (const [name, { header }] of found) {
    const member = found.get(name) as ReadMember
    if (header.type === 'file') {
      const expected = readFileSync(join(tree, name))
      expect(expand(member).equals(expected), name).toBe(true)
      expect(header.mode).toBe(statSync(join(tree, name)).mode & 0o7777)
    }
    if (header.type === 'symlink') expect(header.linkname.toString()).toBe(readlinkSync(join(tree, name)))
    expect(header.uid).toBe(statSync(tree).uid)
  }
  const links = [found.get('hello'), found.get('other-hello')].map((m) => m?.header.type).sort()
  expect(links).toEqual(['file', 'hardlink'])
  expect(found.get('big')?.header.mtimeSec).toBe(MTIME)
}

describe.skipIf(missing('hasGnuTar'))('GNU tar', () => {
  const tar = (...args: string[]) =>
    execFileSync('tar', ['-C', tree, '-cf', '-', ...args, '.'], {
      maxBuffer: 1 << 30,
      stdio: ['ignore', 'pipe', 'pipe'],
    })

  it.each(['gnu', 'oldgnu', 'posix'])('--format=%s is read', async (format) => {
    expectTree(await readAll(tar(`--format=${format}`)))
  })

  it.each(['ustar', 'v7'])('--format=%s is read, but for what it cannot say', async (format) => {
    // GNU tar leaves the long names out and says so by its exit status.
    const long = [
      '--exclude=f*',
      '--exclude=long-link',
      '--exclude=eeee*',
      ...(format === 'v7' ? ['--exclude=dddd*'] : []),
    ]
    expectTree(await readAll(tar(`--format=${format}`, ...long)), [
      'long-link',
      `${LONG_DIR}/${'f'.repeat(90)}`,
    ])
  })

  it.each([
    ['gnu', []],
    ['oldgnu', []],
    ['posix 0.0', ['--sparse-version=0.0']],
    ['posix 0.1', ['--sparse-version=0.1']],
    ['posix 1.0', ['--sparse-version=1.0']],
  ] as const)('sparse files are read: %s', async (format, args) => {
    const members = await readAll(tar('-S', `--format=${format.split(' ')[0] ?? ''}`, ...args), {
      chunkSize: 1 << 16,
    })
    expectTree(members)
    const sparse = byName(members).get('sparse')
    expect(sparse?.header.sparse?.realSize).toBe(70 * STRIDE)
    expect(sparse?.header.size).toBeLessThan(1_000_000)
  })

  it('nanoseconds, a global header and a large owner are read', async () => {
    const archive = tar(
      '--format=posix',
      '--pax-option=globexthdr.name=g,comment=hi',
      '--owner=:3000000',
      '--group=:4000000',
      '--mtime=@1600000000.123456789',
    )
    const hello = byName(await readAll(archive)).get('hello')
    expect(hello?.header).toMatchObject({
      uid: 3_000_000,
      gid: 4_000_000,
      mtimeSec: MTIME,
      mtimeNsec: 123_456_789,
    })
  })

  it('base-256 numbers are read, before 1970 too', async () => {
    const archive = tar('--format=gnu', '--owner=:3000000', '--mtime=@-1234')
    expect(byName(await readAll(archive)).get('hello')?.header).toMatchObject({
      uid: 3_000_000,
      mtimeSec: -1234,
    })
  })

  it('records of a megabyte are read', async () => {
    expectTree(await readAll(tar('-b', '2048')))
  })

  it('extracts what we write', async () => {
    const out = join(dir, 'gnu-out')
    mkdirSync(out)
    execFileSync('tar', ['-C', out, '-xpf', '-'], { input: await ours() })
    expectOurs(out)
  })
})

describe.skipIf(missing('hasBsdtar'))('bsdtar', () => {
  const tar = (...args: string[]) =>
    execFileSync('bsdtar', ['-C', tree, '-cf', '-', ...args, '.'], { maxBuffer: 1 << 30 })

  it.each(['gnutar', 'pax'])('--format %s is read', async (format) => {
    expectTree(await readAll(tar('--format', format)))
  })

  it('extended attributes are read from both forms', async () => {
    const archive = tar('--format', 'pax')
    expect(archive.includes('ctime=')).toBe(true)
    const value = Buffer.from([0, 255, 10, 61])
    const [schily, both, libarchive] = await readAll(await xattrArchive(value))
    for (const member of [schily, both, libarchive])
      expect(member?.header.xattrs.get('user.ü%')).toEqual(value)
  })

  it('extracts what we write', async () => {
    const out = join(dir, 'bsd-out')
    mkdirSync(out)
    execFileSync('bsdtar', ['-C', out, '-xpf', '-'], { input: await ours() })
    expectOurs(out)
  })
})

/** One attribute as star, as star and libarchive, as libarchive alone writes it. */
async function xattrArchive(value: Buffer): Promise<Buffer> {
  const { member, rawTar } = await import('../helpers/rawtar.ts')
  const schily = { 'SCHILY.xattr.user.ü%': value }
  const encoded = { 'LIBARCHIVE.xattr.user.%C3%BC%25': value.toString('base64').replace(/=+$/, '') }
  const wrong = { 'LIBARCHIVE.xattr.user.%C3%BC%25': 'AAAA' }
  return rawTar([
    member({ name: 'a', pax: schily }),
    member({ name: 'b', pax: { ...schily, ...wrong } }),
    member({ name: 'c', pax: encoded }),
  ])
}

describe.skipIf(missing('hasPython'))("Python's tarfile", () => {
  const python = (script: string, ...args: string[]) =>
    execFileSync('python3', ['-c', script, ...args], { maxBuffer: 1 << 30 })

  it.each(['USTAR', 'GNU', 'PAX'])('%s_FORMAT is read', async (format) => {
    const script = `
import sys, tarfile
def keep(info):
    return None if '${format}' == 'USTAR' and ('dddd' in info.name or info.name == './long-link') else info
with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.${format}_FORMAT) as t:
    t.add(sys.argv[1], '.', filter=keep)
`
    const skipped = format === 'USTAR' ? ['long-link', `${LONG_DIR}/${'f'.repeat(90)}`] : []
    const members = await readAll(python(script, tree))
    const found = byName(members)
    for (const name of ['hello', 'big', 'ünïcode', 'sparse']) {
      expect(expand(found.get(name) as ReadMember).equals(readFileSync(join(tree, name))), name).toBe(true)
    }
    if (skipped.length === 0) expect(found.get('long-link')?.header.linkname.toString()).toBe(LONG_LINK)
  })

  it('reads what we write', async () => {
    const file = join(dir, 'ours.tar')
    writeFileSync(file, await ours())
    const script =
      'import sys,tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name, m.size, oct(m.mode), int(m.mtime), m.linkname)'
    expect(python(script, file).toString().split('\n')).toEqual([
      'd 0 0o1777 -5 ',
      'd/f 3 0o4755 1600000000 ',
      `${'n'.repeat(150)} 0 0o644 1600000000 `,
      'ü 0 0o644 1600000000 ',
      `l 0 0o777 1600000000 ${LONG_LINK}`,
      'h 0 0o644 1600000000 d/f',
      '',
    ])
  })
})

describe('tar-stream', () => {
  it('is read', async () => {
    const packing = pack()
    packing.entry({ name: 'a'.repeat(150), mode: 0o600, mtime: new Date(MTIME * 1000) }, 'body')
    packing.entry({ name: 'ü', type: 'symlink', linkname: 'ö' })
    packing.finalize()
    const [file, link] = await readAll(await collect(Readable.from(packing)))
    expect(file).toMatchObject({ header: { mode: 0o600, mtimeSec: MTIME }, body: Buffer.from('body') })
    expect(link?.header.linkname.toString()).toBe('ö')
  })

  it('reads what we write', async () => {
    const names: string[] = []
    const extracting = extract()
    Readable.from([await ours()]).pipe(extracting)
    for await (const entry of extracting) {
      names.push(`${entry.header.type ?? ''} ${entry.header.name} ${String(entry.header.size)}`)
      entry.resume()
    }
    expect(names).toEqual([
      'directory d/ 0',
      'file d/f 3',
      `file ${'n'.repeat(150)} 0`,
      'file ü 0',
      'symlink l 0',
      'link h 0',
    ])
  })
})

function ours(): Promise<Buffer> {
  const base = { mode: 0o644, uid: 0, gid: 0, size: 0, mtimeSec: MTIME } as const
  const b = (text: string) => Buffer.from(text)
  return collect(
    writeTar([
      { member: { ...base, name: b('d/'), type: 'dir', mode: 0o1777, mtimeSec: -5 } },
      { member: { ...base, name: b('d/f'), type: 'file', mode: 0o4755, size: 3 }, body: () => [b('abc')] },
      { member: { ...base, name: b('n'.repeat(150)), type: 'file' } },
      { member: { ...base, name: b('ü'), type: 'file' } },
      { member: { ...base, name: b('l'), type: 'symlink', mode: 0o777, linkname: b(LONG_LINK) } },
      { member: { ...base, name: b('h'), type: 'hardlink', linkname: b('d/f') } },
    ]),
  )
}

function expectOurs(out: string): void {
  expect(readFileSync(join(out, 'd/f'), 'utf8')).toBe('abc')
  expect(statSync(join(out, 'd/f'))).toMatchObject({ nlink: 2, mtimeMs: MTIME * 1000 })
  expect(statSync(join(out, 'h')).ino).toBe(statSync(join(out, 'd/f')).ino)
  expect(statSync(join(out, 'd')).mode & 0o7777).toBe(0o1777)
  expect(readlinkSync(join(out, 'l'))).toBe(LONG_LINK)
  for (const name of ['n'.repeat(150), 'ü']) expect(statSync(join(out, name)).size).toBe(0)
}

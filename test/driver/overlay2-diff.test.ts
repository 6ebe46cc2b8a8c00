/** What an upper directory says, as a layer tar and as a list: each mark of overlayfs, each kind of file. */
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { MountOptions } from '../../lib/driver/driver.ts'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { AT_FDCWD, binding } from '../../lib/native/binding.ts'
import type { TarHeader } from '../../lib/tar/entry.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf, listed } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { readAll } from '../helpers/tar.ts'
import {
  dirAt,
  dumpTree,
  fileAt,
  hardlinkAt,
  opaqueAt,
  printable,
  tree,
  whiteoutAt,
} from '../../lib/driver-suite/tree.ts'

const BASE = 'a'.repeat(64)
const TOP = 'b'.repeat(64)
const COPY = 'c'.repeat(64)

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr'))(
  'an upper directory',
  () => {
    let fs: LoopFileSystem
    let home: string
    let driver: Overlay2Driver
    let count = 0

    beforeAll(() => {
      fs = loopFileSystem('tmpfs')
    })
    afterAll(() => {
      fs.dispose()
    })
    watchLeaks(() => [fs.dir])
    beforeEach(async () => {
      home = join(fs.dir, `root-${(count++).toString()}`, 'overlay2')
      driver = openOverlay2(home, { durability: 'none' })
      await driver.create(BASE, undefined)
      await tree(join(home, BASE, 'diff'), [
        fileAt('d/keep', 'keep'),
        fileAt('d/sub/x', 'x'),
        fileAt('d/sub/y', 'y'),
        fileAt('e/file', 'e'),
        fileAt('file', 'content', { mode: 0o640, uid: 3, gid: 4, xattrs: { 'user.note': 'old' } }),
      ])
      await driver.createReadWrite(TOP, BASE)
    })

    const diff = (): string => join(home, TOP, 'diff')

    const members = async (): Promise<{ header: TarHeader; body: string }[]> => {
      const tar = await collect(driver.diff(TOP, BASE))
      return (await readAll(tar)).map(({ header, body }) => ({ header, body: body.toString() }))
    }
    const names = async (): Promise<string[]> => (await members()).map(({ header }) => printable(header.name))
    const changes = (): Promise<string[]> => listed(driver.changes(TOP, BASE))

    /** Changes the merged tree under these options. */
    const change = async (
      work: (root: string) => void | Promise<void>,
      options: MountOptions = {},
    ): Promise<void> => {
      const root = await driver.get(TOP, options)
      try {
        await work(root)
      } finally {
        await driver.put(TOP)
      }
    }

    /** The merged tree as it is now, and as it is after the diff was applied to a fresh layer. */
    const roundTrip = async (): Promise<void> => {
      const dump = async (id: string): Promise<string[]> => {
        const root = await driver.get(id, { readOnly: true })
        try {
          return await dumpTree(root, { nanoseconds: false, root: false })
        } finally {
          await driver.put(id)
        }
      }
      const tar = await collect(driver.diff(TOP, BASE))
      await driver.create(COPY, BASE)
      await driver.applyDiff(COPY, BASE, streamOf(tar))
      expect(await dump(COPY)).toEqual(await dump(TOP))
    }

    describe('as a tar', () => {
      it('has no entry for the root, whatever its own metadata', async () => {
        await change((root) => {
          chmodSync(root, 0o700)
          writeFileSync(join(root, 'new'), '')
        })
        expect(await names()).toEqual(['new'])
      })

      it('writes a deletion as an empty .wh. file of mode 0600', async () => {
        await change((root) => rmSync(join(root, 'd/keep')))
        const [dir, whiteout] = await members()
        expect(printable(dir?.header.name ?? Buffer.alloc(0))).toBe('d/')
        expect(whiteout?.header).toMatchObject({ type: 'file', mode: 0o600, size: 0, uid: 0, gid: 0 })
        expect(whiteout?.header.name.toString()).toBe('d/.wh.keep')
      })

      it('writes every deletion as one, though their whiteouts are hard links', async () => {
        await change((root) => {
          for (const name of ['d/keep', 'd/sub/x', 'e/file', 'file']) rmSync(join(root, name))
        })
        const links = ['d/keep', 'd/sub/x', 'e/file', 'file'].map(
          (name) => statSync(join(diff(), name)).nlink,
        )
        expect(Math.max(...links)).toBeGreaterThan(1)
        const found = await members()
        expect(found.map(({ header }) => `${header.type} ${header.name.toString()}`)).toEqual([
          'dir d/',
          'file d/.wh.keep',
          'dir d/sub/',
          'file d/sub/.wh.x',
          'dir e/',
          'file e/.wh.file',
          'file .wh.file',
        ])
      })

      it('follows an opaque directory by its mark', async () => {
        await change((root) => {
          rmSync(join(root, 'd'), { recursive: true })
          mkdirSync(join(root, 'd'), { mode: 0o711 })
          writeFileSync(join(root, 'd/again'), '')
        })
        const found = await members()
        expect(found.map(({ header }) => header.name.toString())).toEqual(['d/', 'd/.wh..wh..opq', 'd/again'])
        expect(found[1]?.header).toMatchObject({ type: 'file', mode: 0o711, size: 0, mtimeSec: 0 })
      })

      it('carries the attributes that the container gave, and none of the kernel', async () => {
        await tree(diff(), [
          opaqueAt('dir', { xattrs: { 'user.dir': 'yes', 'trusted.overlay.impure': 'y' } }),
          fileAt('new', '', {
            xattrs: {
              'user.a': Buffer.from([0, 0xff]),
              'trusted.mine': '1',
              'trusted.overlay.origin': 'x',
              'user.overlay.opaque': 'y',
              'trusted.overlay.overlay.opaque': 'y',
              'security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex'),
            },
          }),
        ])
        const found = await members()
        const of = (name: string): string[] => {
          const xattrs =
            found.find(({ header }) => header.name.toString() === name)?.header.xattrs ??
            new Map<string, Buffer>()
          return [...xattrs].map(([key, value]) => `${key}=${value.toString('hex')}`).sort()
        }
        expect(of('dir/')).toEqual([`user.dir=${Buffer.from('yes').toString('hex')}`])
        expect(of('new')).toEqual([
          'security.capability=0100000200040000000000000000000000000000',
          'trusted.mine=31',
          'user.a=00ff',
        ])
      })

      it('reads whiteouts that are files with an attribute, where the directory says so', async () => {
        const whiteout = { xattrs: { 'trusted.overlay.whiteout': '' } }
        await tree(diff(), [
          dirAt('d', { xattrs: { 'trusted.overlay.opaque': 'x' } }),
          fileAt('d/keep', '', whiteout),
          fileAt('d/full', 'not empty', whiteout),
          fileAt('e/file', '', whiteout),
        ])
        expect(await names()).toEqual(['d/', 'd/full', 'd/.wh.keep', 'e/', 'e/file'])
        expect(await changes()).toEqual(['C /d', 'A /d/full', 'D /d/keep', 'C /e', 'C /e/file'])
      })

      it('gives one name the body of a hard-linked file and makes the others links', async () => {
        await tree(diff(), [fileAt('z', 'body'), hardlinkAt('a', 'z'), hardlinkAt('m/n', 'z')])
        const found = await members()
        expect(
          found.map(
            ({ header, body }) =>
              `${header.type} ${header.name.toString()} ${header.linkname.toString()} ${body}`,
          ),
        ).toEqual(['file a  body', 'dir m/  ', 'hardlink m/n a ', 'hardlink z a '])
      })

      it('stays whole when a file shrinks or grows while it is read', async () => {
        for (const [name, size] of [
          ['a-shrinks', 3_000_000],
          ['b-grows', 3_000_000],
          ['c-shrinks-small', 50_000],
        ] as const) {
          await tree(diff(), [fileAt(name, Buffer.alloc(size, 1))])
        }
        const chunks: Buffer[] = []
        for await (const chunk of driver.diff(TOP, BASE)) {
          if (chunks.length === 0) {
            truncateSync(join(diff(), 'a-shrinks'), 1_500_000)
            truncateSync(join(diff(), 'b-grows'), 9_000_000)
            truncateSync(join(diff(), 'c-shrinks-small'), 0)
          }
          chunks.push(chunk)
        }
        const found = await readAll(Buffer.concat(chunks))
        expect(found.map(({ body }) => body.length)).toEqual([3_000_000, 3_000_000, 50_000])
        expect(found[1]?.body.subarray(0, 3_000_000).every((byte) => byte === 1)).toBe(true)
      })

      it('fails when a file cannot be read, rather than leave it out', async () => {
        using disk = loopFileSystem('ext4')
        const damaged = openOverlay2(join(disk.dir, 'overlay2'), { durability: 'none' })
        await damaged.createReadWrite(TOP, undefined)
        const at = join(disk.dir, 'overlay2', TOP, 'diff')
        await tree(at, [fileAt('a', 'x'), fileAt('b', Buffer.alloc(8 * MIB, 1))])
        disk.offline(() => undefined)
        expect(await damaged.diffSize(TOP, undefined)).toBe(8 * MIB + 1)
        // Now the folders are in memory, and what the disk loses are the contents.
        truncateSync(disk.image ?? '', MIB)
        await expect(collect(damaged.diff(TOP, undefined))).rejects.toMatchObject({ code: 'EIO' })
      })
    })

    describe('as a list', () => {
      it('is empty after a read', async () => {
        await change((root) => expect(readFileSync(join(root, 'file'), 'utf8')).toBe('content'))
        expect(await changes()).toEqual([])
      })

      it('looks up many names in one directory and few in another alike', async () => {
        const many = Array.from({ length: 60 }, (_, index) => `f${index.toString().padStart(2, '0')}`)
        await tree(join(home, BASE, 'diff'), [...many.map((name) => fileAt(`many/${name}`, name))])
        await change((root) => {
          for (const name of many.slice(0, 40)) writeFileSync(join(root, 'many', name), 'changed')
          writeFileSync(join(root, 'many/new'), '')
          rmSync(join(root, 'many/f50'))
        })
        const expected = [...many.slice(0, 40).map((name) => `C /many/${name}`), 'D /many/f50', 'A /many/new']
        expect(await changes()).toEqual(['C /many', ...expected])
      })

      it('tells a capability that was set or taken', async () => {
        const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex')
        await change(async (root) => {
          await binding.lsetxattr(join(root, 'file'), 'security.capability', capability, 0)
        })
        expect(await changes()).toEqual(['C /file'])
      })

      it('does not tell of a whiteout for a name that never was', async () => {
        await tree(diff(), [whiteoutAt('never'), whiteoutAt('d/never'), whiteoutAt('file')])
        expect(await changes()).toEqual(['D /file'])
      })

      it('tells what an opaque directory hides, at any depth below it', async () => {
        await tree(diff(), [opaqueAt('d'), fileAt('d/keep', 'keep'), fileAt('d/sub/x', 'x')])
        expect(await changes()).toEqual(['C /d', 'C /d/sub', 'D /d/sub/y'])
      })

      it('does not follow links that stand where the parent has a directory, or the reverse', async () => {
        await change((root) => {
          rmSync(join(root, 'd'), { recursive: true })
          mkdirSync(join(root, 'out'))
        })
        await tree(diff(), [{ op: 'remove', path: Buffer.from('d') }])
        await tree(diff(), [{ op: 'symlink', path: Buffer.from('d'), target: Buffer.from('/etc'), ...META }])
        expect(await changes()).toEqual(['C /d', 'A /out'])
      })
    })

    describe('with redirect_dir', () => {
      const rename = (): Promise<void> =>
        change(
          (root) => {
            renameSync(join(root, 'd'), join(root, 'moved'))
            writeFileSync(join(root, 'moved/new'), 'new')
            rmSync(join(root, 'moved/sub/y'))
          },
          { redirectDir: true },
        )

      it('is refused by the kernel unless asked for', async () => {
        await change((root) => {
          expect(() => renameSync(join(root, 'd'), join(root, 'moved'))).toThrow(
            expect.objectContaining({ code: 'EXDEV' }) as Error,
          )
        })
      })

      it('gives a renamed directory in full, though the upper holds its name alone', async () => {
        await rename()
        expect(readdirSync(join(diff(), 'moved')).sort()).toEqual(['new', 'sub'])
        expect(await names()).toEqual([
          '.wh.d',
          'moved/',
          'moved/.wh..wh..opq',
          'moved/keep',
          'moved/new',
          'moved/sub/',
          'moved/sub/x',
        ])
        expect(await driver.diffSize(TOP, BASE)).toBe('keep'.length + 'new'.length + 'x'.length)
        await roundTrip()
      })

      it('lists it as deleted there and added here', async () => {
        await rename()
        expect(await changes()).toEqual([
          'D /d',
          'A /moved',
          'A /moved/keep',
          'A /moved/new',
          'A /moved/sub',
          'A /moved/sub/x',
        ])
      })

      it('stays on for a layer that was once mounted with it, in another process too', async () => {
        await rename()
        driver = openOverlay2(home, { durability: 'none' })
        await change((root) => {
          expect(readFileSync(join(root, 'moved/keep'), 'utf8')).toBe('keep')
          renameSync(join(root, 'e'), join(root, 'e2'))
        })
        expect(readFileSync(join(home, TOP, 'features'), 'utf8')).toBe('redirect_dir\n')
        await roundTrip()
      })

      it('works for a directory moved onto a name that is deleted below, and for one moved twice', async () => {
        await change(
          (root) => {
            rmSync(join(root, 'e'), { recursive: true })
            renameSync(join(root, 'd'), join(root, 'e'))
            renameSync(join(root, 'e/sub'), join(root, 'e/sub2'))
            mkdirSync(join(root, 'd'))
            renameSync(join(root, 'e'), join(root, 'd/deep'))
          },
          { redirectDir: true },
        )
        await roundTrip()
      })
    })

    describe('with metacopy', () => {
      it('gives the data that the upper does not have', async () => {
        await change(
          (root) => {
            chmodSync(join(root, 'file'), 0o600)
            renameSync(join(root, 'd/keep'), join(root, 'd/kept'))
          },
          { metacopy: true },
        )
        expect(await binding.lgetxattr(join(diff(), 'file'), 'trusted.overlay.metacopy')).toBeDefined()
        const found = await members()
        expect(found.map(({ header, body }) => `${header.name.toString()} ${body}`)).toEqual([
          'd/ ',
          'd/.wh.keep ',
          'd/kept keep',
          'file content',
        ])
        await roundTrip()
      })
    })

    describe('with userxattr', () => {
      it('reads the marks of the other kind', async () => {
        await change(
          (root) => {
            rmSync(join(root, 'd'), { recursive: true })
            mkdirSync(join(root, 'd'))
          },
          { userxattr: true },
        )
        expect(await binding.lgetxattr(join(diff(), 'd'), 'user.overlay.opaque')).toEqual(Buffer.from('y'))
        expect(await names()).toEqual(['d/', 'd/.wh..wh..opq'])
        expect(await changes()).toEqual(['D /d/keep', 'D /d/sub'].map((line) => line).toSpliced(0, 0, 'C /d'))
        await roundTrip()
      })

      it('does not take a mark that a container made for its own', async () => {
        await change(async (root) => {
          await tree(root, [dirAt('d', { xattrs: { 'user.overlay.opaque': 'y' } })])
        })
        expect(await names()).toEqual(['d/'])
        expect(await changes()).toEqual([])
      })
    })

    it('shows what it stands for: the same tree again when applied', async () => {
      await change(async (root) => {
        rmSync(join(root, 'd/sub'), { recursive: true })
        await tree(root, [
          fileAt('d/sub', 'a file now', {
            mode: 0o6711,
            uid: 9,
            xattrs: { 'user.x': Buffer.from([0xff, 0]) },
          }),
          hardlinkAt('hard', 'd/sub'),
          fileAt(Buffer.from([0x65, 0x2f, 0xff]), 'not UTF-8'),
        ])
        await binding.mknodat(AT_FDCWD, join(root, 'null'), 0o020666, 1, 3)
      })
      await roundTrip()
    })
  },
)

const META = { mode: 0o120777, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0 }

/**
 * A full disk: loads and commits say so, and leave the store as it was. The disk is filled up to some free bytes, from
 * none to nearly enough, so that another write fails each time.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { streamOf } from '../../lib/driver-suite/streams.ts'
import { buildImage, dockerArchive } from '../helpers/image.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { archiveOf, members, nginxImage } from '../helpers/store.ts'
import { KIB, MIB } from '../helpers/sizes.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { random, seed } from './seed.ts'

const CLEAN = { ok: true, problems: [] }
const FREE: readonly number[] = [0, 4, 16, 48, 128, 512, 1024, 2048, 3072].map((kib) => kib * KIB)

/** Bytes that do not compress, so that they take their place wherever they are kept. */
function noise(bytes: number): string {
  return Array.from({ length: bytes }, () => String.fromCharCode(33 + Math.floor(random() * 90))).join('')
}

/** Three layers on the base that is there, of about 2 MiB each, one in many files. */
const bigImage = buildImage({
  layers: [
    ...nginxImage()
      .layers.slice(0, 1)
      .map(({ tar }) => tar),
    members({ 'big/': '', 'big/one': noise(2 * MIB) }),
    members(
      Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`many/${String(i)}`, noise(10 * KIB)])),
    ),
  ],
  names: ['big:1'],
})

describe.skipIf(missing('canMount', 'canLoop', 'hasBinding'))('on a full disk', () => {
  let disk: LoopFileSystem
  let store: Store
  let before: unknown
  const archive = tempDir('full-disk')
  watchLeaks(() => [disk.dir])

  beforeAll(async () => {
    console.log(`OVERLAID_SEED=${String(seed)}`)
    writeFileSync(join(archive.path, 'big.tar'), dockerArchive([bigImage]))
    disk = loopFileSystem('ext4', 64 * MIB)
    store = await Store.open(join(disk.dir, 'root'))
    await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1', { name: 'web' })
    await using mount = await container.mount()
    writeFileSync(join(mount.path ?? '', 'mine'), noise(3 * MIB))
    await mount.unmount()
    before = await snapshot()
  })
  afterAll(async () => {
    await store.close()
    disk.dispose()
    archive[Symbol.dispose]()
  })

  async function snapshot(): Promise<unknown> {
    return {
      images: await store.images.list(),
      layers: await store.layers.list(),
      containers: await store.containers.list(),
    }
  }

  /** Leaves about `free` bytes, runs `work`, and gives the space back. */
  async function withFree(free: number, work: () => Promise<void>): Promise<void> {
    const filler = join(disk.dir, 'filler')
    fill(filler, free)
    try {
      await work()
    } finally {
      rmSync(filler)
    }
  }

  /** Root may have the reserved blocks too, so the disk is written until it is full, then the file cut. */
  function fill(path: string, free: number): void {
    const fd = openSync(path, 'w')
    try {
      let size = 0
      for (let piece = MIB; piece >= 512;) {
        const written = tryWrite(fd, piece)
        size += written
        if (written < piece) piece >>= 1
      }
      fsyncSync(fd)
      ftruncateSync(fd, Math.max(0, size - free))
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  }

  function tryWrite(fd: number, bytes: number): number {
    try {
      return writeSync(fd, Buffer.alloc(bytes, 'x'))
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' })
      return 0
    }
  }

  it.each(FREE)('with %i bytes free a load says ENOSPC and changes nothing', async (free) => {
    let failed = false
    await withFree(free, async () => {
      try {
        await store.images.loadAll(join(archive.path, 'big.tar'))
      } catch (error) {
        failed = true
        expect(error).toMatchObject({ code: 'ENOSPC' })
        expect((error as Error).message).toMatch(/no space left on device/i)
      }
      if (!failed) return
      // All of it still on the full disk.
      expect(await snapshot()).toEqual(before)
      expect(await store.check({ deep: true })).toEqual(CLEAN)
    })
    expect(failed).toBe(true)
  })

  it.each(FREE.filter((free) => free < 2 * MIB))(
    'with %i bytes free a commit says ENOSPC and changes nothing',
    async (free) => {
      const container = await store.containers.get('web')
      await withFree(free, async () => {
        await expect(container.commit('mine:1')).rejects.toMatchObject({ code: 'ENOSPC' })
        expect(await snapshot()).toEqual(before)
        expect(await store.check({ deep: true })).toEqual(CLEAN)
      })
    },
  )

  it('a container is not made half', async () => {
    for (const free of [0, 4 * KIB, 12 * KIB, 20 * KIB]) {
      await withFree(free, async () => {
        await store.containers.create('nginx:1', { name: 'other' }).then(
          (container) => container.remove(),
          (error: unknown) => expect(error).toMatchObject({ code: 'ENOSPC' }),
        )
        expect(await snapshot()).toEqual(before)
        expect(await store.check()).toEqual(CLEAN)
      })
    }
  })

  it('what frees space works: gc, rm and rmi', async () => {
    await store.images.load(streamOf(dockerArchive([bigImage])))
    await store.containers.create('big:1', { name: 'gone' })
    await withFree(0, async () => {
      await (await store.containers.get('gone')).remove()
      await store.images.remove(['big:1'])
      await store.gc()
      expect(await snapshot()).toEqual(before)
      expect(await store.check({ deep: true })).toEqual(CLEAN)
    })
  })

  it('with space again both go through', async () => {
    await store.images.loadAll(join(archive.path, 'big.tar'))
    const committed = await (await store.containers.get('web')).commit('mine:1')
    expect(committed.names).toEqual(['mine:1'])
    expect(await store.check({ deep: true })).toEqual(CLEAN)
  })
})

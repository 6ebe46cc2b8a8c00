/** A file system that fills up in the middle: ENOSPC in words, and the store is as before. */
import { randomBytes } from 'node:crypto'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage, dockerArchive, streamOf } from '../helpers/image.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { expectSound, makeBase } from './sound.ts'

/** What the store and its container need, with room for the journal. */
const DISK = 48 * MIB

describe.skipIf(missing('canLoop', 'canMount', 'canMknod', 'canTrustedXattr'))('a full disk', () => {
  let fs: LoopFileSystem
  watchLeaks(() => [fs.dir])
  let base = ''
  beforeAll(async () => {
    fs = loopFileSystem('ext4', DISK)
    ;({ base } = await makeBase(fs.dir))
  })
  afterAll(() => fs.dispose())

  /** What the store tells: ids, layers, and the file of the container. */
  async function state(): Promise<unknown> {
    await using store = await Store.open(base)
    return { images: await store.images.list(), layers: await store.layers.list() }
  }

  /** Runs `work`, which must run out of space, and finds the store as it was, without a gc. */
  async function expectRefused(work: (store: Store) => Promise<unknown>): Promise<void> {
    const before = await state()
    await using store = await Store.open(base)
    const error: unknown = await work(store).then(
      () => new Error('there was space'),
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({ code: 'ENOSPC' })
    expect((error as Error).message).toMatch(/no space left on device/i)
    await store.close()
    expect(await state()).toEqual(before)
    await using after = await Store.open(base)
    expect(await after.check({ deep: true })).toEqual({ ok: true, problems: [] })
  }

  it('stops a load in a large file', async () => {
    const body = randomBytes(DISK)
    const image = buildImage({
      layers: [[{ name: 'small', body: 'x' }], [{ name: 'large', body }]],
      names: ['large:1'],
    })
    await expectRefused((store) => store.images.load(streamOf(dockerArchive([image]))))
    await expectSound(base)
  })

  it('stops a load in many small files, when the inodes run out', async () => {
    const members = Array.from({ length: 20_000 }, (_, i) => ({ name: `file-${String(i)}`, body: 'x' }))
    const image = buildImage({ layers: [members], names: ['many:1'] })
    await expectRefused((store) => store.images.load(streamOf(dockerArchive([image]))))
    await expectSound(base)
  })

  it('stops a commit', async () => {
    const filler = join(fs.dir, 'filler')
    await using store = await Store.open(base)
    const kept = await store.containers.get('kept')
    {
      await using mount = await kept.mount()
      writeFileSync(join(mount.path ?? '', 'large'), randomBytes(12 * MIB))
    }
    fill(filler)
    await expectRefused(async (other) => (await other.containers.get('kept')).commit('large:1'))
    rmSync(filler)
    await kept.commit('large:1')
    await expectSound(base)
  })
})

/** Leaves 6 MiB: a commit of 12 begins, and cannot end. */
function fill(path: string): void {
  const { bavail, bsize } = statfsSync(dirname(path))
  writeFileSync(path, randomBytes(bavail * bsize - 6 * MIB))
}

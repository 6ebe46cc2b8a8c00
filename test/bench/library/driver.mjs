/**
 * What a driver costs, in ms and in bytes of the file system: an image loaded, containers made of it, one byte of the
 * large file `file` changed in one of them, and containers' whole lives. Space first: some file systems take what is
 * deleted off their count later.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, openSync, readFileSync, statfsSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { eachOf, storeTask, timed } from './task.mjs'

/**
 * @typedef {{ root: string, driver: string, durability: 'none' | 'full', archive: string, file: string,
 *   containers: number, lives: number }} Parameters
 */

/** Bytes that are used, after all is written. @param {string} dir */
function used(dir) {
  execFileSync('sync', ['--file-system', dir])
  const { blocks, bfree, bsize } = statfsSync(dir)
  return (blocks - bfree) * bsize
}

await storeTask(async (store, /** @type {Parameters} */ { root, archive, file, containers, lives }) => {
  const disk = dirname(root)
  const space = [used(disk)]
  const load = await timed(() => store.images.load(archive))
  space.push(used(disk))
  const [image] = await store.images.list()
  const create = () => store.containers.create(image?.id ?? '')

  for (let i = 1; i < containers; i++) await create()
  const changed = await create()
  space.push(used(disk))

  const mount = await changed.mount()
  const path = join(mount.path ?? '', file)
  const fd = openSync(path, 'r+')
  writeSync(fd, '!', 0)
  closeSync(fd)
  space.push(used(disk))
  const digest = createHash('sha256').update(readFileSync(path)).digest('hex')
  await mount.unmount()

  const live = async () => {
    const container = await create()
    await (await container.mount()).unmount()
    await container.remove()
    await store.driver.emptyTrash()
  }
  await live()
  return { load, lives: await eachOf(lives, live), space, digest }
})

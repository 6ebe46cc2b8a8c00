/** Init layers: the second container on an image gets by copying what the first got by mounting. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Container } from '../../lib/store/container.ts'
import type { Store } from '../../lib/store/store.ts'
import { serversEnded } from '../helpers/fuse.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { archiveOf, newStore, nginxImage, storeFolders } from '../helpers/store.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'

watchLeaks(() => storeFolders)
afterEach(async () => {
  for (const folder of storeFolders) await serversEnded(folder)
})

/** An image with something else at most of the places. */
const awkward = () =>
  buildImage({
    names: ['awkward:1'],
    layers: [
      [
        { name: 'dev', body: 'no folder' },
        { name: 'etc/', mode: 0o700, uid: 5 },
        { name: 'etc/hostname/', mode: 0o711 },
        { name: 'etc/resolv.conf', body: 'nameserver 192.0.2.1' },
        { name: 'etc/hosts', type: 'symlink', linkname: '/run/hosts' },
        { name: 'proc/', mode: 0o555 },
        { name: 'sys', type: 'symlink', linkname: 'usr' },
        { name: 'usr/' },
        { name: 'usr/inside', body: '' },
      ],
    ],
  })

async function viewOf(container: Container): Promise<string[]> {
  await using root = await container.mount({ readOnly: true })
  return await dumpTree(root.path ?? '', { mtime: false })
}

/** What the driver keeps of the init layer, with overlayfs' own marks. */
async function keptOf(container: Container): Promise<string[]> {
  const { upperdir } = await container.paths()
  return dumpTree(join(upperdir.replace(/\/diff$/, '-init'), 'diff'), { mtime: false, root: false })
}

it.skipIf(missing('canMount', 'hasBinding'))('goes with the container that could not be made', async () => {
  const store = await newStore()
  const image = await store.images.load(archiveOf(nginxImage()))
  await store.containers.create(image)
  const home = join(store.root, 'overlay2')
  const before = readdirSync(home)
  const { driver } = store
  const create = driver.createReadWrite.bind(driver)
  const failing = vi.spyOn(driver, 'createReadWrite').mockImplementation(async (id, parent, options) => {
    if (!id.endsWith('-init')) throw new Error('no')
    await create(id, parent, options)
  })
  await expect(store.containers.create(image)).rejects.toThrow('no')
  expect(failing).toHaveBeenCalledTimes(2)
  expect(readdirSync(home)).toEqual(before)
  expect(readdirSync(join(home, 'trash'))).toEqual([])
})

describe.each(['overlay2', 'fuse-overlayfs'])('with %s', (driver) => {
  const gates = driver === 'overlay2' ? [] : (['canFuse'] as const)

  it.skipIf(missing('canMount', 'hasBinding', ...gates))('is the same each time', async () => {
    const store: Store = await newStore({ driver })
    await store.images.load(archiveOf(awkward()))
    const first = await store.containers.create('awkward:1')
    const [view, kept] = [await viewOf(first), await keptOf(first)]
    expect(view.filter((line) => /^(dev|sys|etc\/hosts) /.test(line))).toEqual([
      expect.stringMatching(/^dev dir 0755/),
      expect.stringMatching(/^etc\/hosts file 0755/),
      expect.stringMatching(/^sys dir 0755/),
    ])
    // Not a copy of something that may be gone.
    await first.remove()
    const second = await store.containers.create('awkward:1')
    expect(await viewOf(second)).toEqual(view)
    expect(await keptOf(second)).toEqual(kept)
  })

  it.skipIf(missing('canMount', 'hasBinding', ...gates))("is each image's own", async () => {
    const store = await newStore({ driver })
    await store.images.loadAll(archiveOf(awkward(), nginxImage()))
    const views: string[][] = []
    for (const image of ['awkward:1', 'nginx:1', 'awkward:1', 'nginx:1']) {
      views.push(await viewOf(await store.containers.create(image)))
    }
    expect(views[2]).toEqual(views[0])
    expect(views[3]).toEqual(views[1])
    expect(views[0]).not.toEqual(views[1])
  })
})

/** Stores on folders of their own, and small images to put in them. */
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { DiffID } from '../../lib/oci/digest.ts'
import type { Image } from '../../lib/store/image-store.ts'
import { Store, type StoreOptions } from '../../lib/store/store.ts'
import { streamOf } from '../../lib/driver-suite/streams.ts'
import { buildImage, dockerArchive, type ImageSpec, type TestImage } from './image.ts'
import { finishBeforeLeakCheck } from './mounts.ts'
import type { TarSpec } from './rawtar.ts'
import { tempDir } from './temp-dir.ts'

/** The folders of this file's stores, for watchLeaks. */
export const storeFolders: string[] = []

/** A root that is not there yet, in a folder that goes when the test does. */
export function newRoot(): string {
  const dir = tempDir('store')
  onTestFinished(() => dir[Symbol.dispose]())
  // mkdtemp's 0700 would keep the readers of unprivileged tests out before the store's own modes do.
  chmodSync(dir.path, 0o755)
  storeFolders.push(dir.path)
  return join(dir.path, 'root')
}

/** Opens a store that is closed before its folder goes, and that fails the test when it warns of anything. */
export async function openStore(root: string, options: StoreOptions = {}): Promise<Store> {
  const onWarning = (message: string) => {
    throw new Error(`unexpected warning: ${message}`)
  }
  const store = await Store.open(root, { durability: 'none', onWarning, ...options })
  onTestFinished(() => store.close())
  // What rm and rmi set aside is deleted after they return.
  finishBeforeLeakCheck(() => store.driver.idle())
  return store
}

/** A new store on a new root. */
export function newStore(options: StoreOptions = {}): Promise<Store> {
  return openStore(newRoot(), options)
}

/** Members for a layer: paths that end in `/` are folders, the others files with that content. */
export function members(files: Readonly<Record<string, string>>): TarSpec[] {
  return Object.entries(files).map(([name, body]) => ({ name, body }))
}

/** The layers of the classic example: a base that others share. */
export const BASE_LAYER: readonly TarSpec[] = members({
  'bin/': '',
  'bin/sh': '#!shell',
  'etc/': '',
  'etc/os-release': 'ID=test\n',
  'etc/motd': 'welcome\n',
})
export const CERT_LAYER: readonly TarSpec[] = members({ 'certs/': '', 'certs/ca.pem': 'PEM' })
export const NGINX_LAYER: readonly TarSpec[] = members({
  'srv/': '',
  'srv/nginx': 'nginx',
  'etc/motd': 'nginx here\n',
})
export const PYTHON_LAYER: readonly TarSpec[] = members({
  'usr/': '',
  'usr/python': 'python',
  '.wh.certs': '',
})

export function nginxImage(spec: Partial<ImageSpec> = {}): TestImage {
  return buildImage({ layers: [BASE_LAYER, CERT_LAYER, NGINX_LAYER], names: ['nginx:1'], ...spec })
}

export function pythonImage(spec: Partial<ImageSpec> = {}): TestImage {
  return buildImage({ layers: [BASE_LAYER, CERT_LAYER, PYTHON_LAYER], names: ['python:3'], ...spec })
}

/** The images as a docker archive. */
export function archiveOf(...images: readonly TestImage[]): AsyncIterable<Buffer> {
  return streamOf(dockerArchive(images))
}

export function diffIDs(image: TestImage): DiffID[] {
  return image.layers.map(({ diffID }) => diffID as DiffID)
}

/**
 * A container as dockerd leaves it: layerdb's entry, the driver's folders, and containers/<id>/config.v2.json.
 * `foreign` leaves the last out: an entry of whoever else. Returns its id.
 */
export async function addDockerContainer(
  store: Store,
  image: Image,
  name: string,
  { foreign = false }: { readonly foreign?: boolean } = {},
): Promise<string> {
  const [id, mountID] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]
  const top = image.chainIDs.at(-1) ?? ''
  const { cacheID } = await store.layers.get(top)
  await store.driver.createReadWrite(`${mountID}-init`, cacheID)
  await store.driver.createReadWrite(mountID, `${mountID}-init`)
  const entry = join(store.root, 'image/overlay2/layerdb/mounts', id)
  mkdirSync(entry)
  writeFileSync(join(entry, 'mount-id'), mountID)
  writeFileSync(join(entry, 'init-id'), `${mountID}-init`)
  writeFileSync(join(entry, 'parent'), top)
  if (foreign) return id
  mkdirSync(join(store.root, 'containers', id), { recursive: true, mode: 0o710 })
  const config = { Image: image.names[0] ?? image.id, Cmd: ['theirs'], Env: null, Hostname: id.slice(0, 12) }
  const state = { Running: false, Paused: false }
  const json = {
    ID: id,
    Name: `/${name}`,
    Driver: 'overlay2',
    Image: image.id,
    Created: '2024-01-01T00:00:00Z',
  }
  const document = JSON.stringify({ ...json, Config: config, State: state })
  writeFileSync(join(store.root, 'containers', id, 'config.v2.json'), document)
  return id
}

/** A healthy store to be damaged: two images that share two layers, and a container with changes. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { chainIDs } from '../../lib/oci/chain-id.ts'
import { Store } from '../../lib/store/store.ts'
import { archiveOf, diffIDs, newRoot, nginxImage, openStore, pythonImage } from './store.ts'
import { type TempDir, tempDir } from './temp-dir.ts'

/** A store with the places that one damages. All paths are absolute. */
export interface Patient {
  readonly root: string
  readonly store: Store
  readonly home: string
  readonly layerDB: string
  readonly own: string
  /** The container's id and the names of its folders. */
  readonly container: string
  readonly mountID: string
  /** The nginx image's id, and its layers from the base up: chainIDs' hex digits and folders. */
  readonly image: string
  readonly layers: readonly string[]
  readonly folders: readonly string[]
  /** The record of a layer: 0 is the base. */
  layer(index: number, file?: string): string
  /** The folder of a layer. */
  folder(index: number, file?: string): string
  /** A file of the container's entry in layerdb/mounts. */
  entry(file: string): string
}

let template: TempDir | undefined
afterAll(() => template?.[Symbol.dispose]())

/** Makes the store once a file, and copies it for each test. */
export async function newPatient(): Promise<Patient> {
  template ??= await makeTemplate()
  const root = newRoot()
  execFileSync('cp', ['-a', join(template.path, 'root'), root])
  return patientAt(root, await openStore(root))
}

async function makeTemplate(): Promise<TempDir> {
  const dir = tempDir('patient')
  await using store = await Store.open(join(dir.path, 'root'), { durability: 'none' })
  await store.images.load(archiveOf(nginxImage()))
  await store.images.load(archiveOf(pythonImage()))
  const container = await store.containers.create('nginx:1', { name: 'web' })
  {
    await using mount = await container.mount()
    writeFileSync(join(mount.path ?? '', 'etc/motd'), 'mine\n')
  }
  return dir
}

/** The places of the store at `root`, which {@link newPatient} made. */
export function patientAt(root: string, store: Store): Patient {
  const layerDB = join(root, 'image/overlay2/layerdb')
  const home = join(root, 'overlay2')
  const layers = chainIDs(diffIDs(nginxImage())).map((id) => id.slice('sha256:'.length))
  const layer = (index: number, file = ''): string => join(layerDB, 'sha256', layers[index] ?? '', file)
  const folders = layers.map((_, index) => readFileSync(layer(index, 'cache-id'), 'utf8'))
  const container = readdirSync(join(layerDB, 'mounts'))[0] ?? ''
  const entry = (file: string): string => join(layerDB, 'mounts', container, file)
  return {
    root,
    store,
    home,
    layerDB,
    own: join(root, 'overlaid'),
    container,
    mountID: readFileSync(entry('mount-id'), 'utf8'),
    image: nginxImage().id.slice('sha256:'.length),
    layers,
    folders,
    layer,
    folder: (index, file = '') => join(home, folders[index] ?? '', file),
    entry,
  }
}

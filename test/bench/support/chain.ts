/** Images of many small layers, for benchmarks of mounts. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildImage, dockerArchive } from '../../helpers/image.ts'
import { NOW } from './builds.ts'
import { task } from './run.ts'

export const CHAIN_NAME = 'chain:bench'

/** A docker-archive in `dir` of an image with `layers` layers, each with one file `file-<i>`. @returns its path */
export function chainArchive(dir: string, layers: number): string {
  const image = buildImage({
    names: [CHAIN_NAME],
    layers: Array.from({ length: layers }, (_, i) => [{ name: `file-${String(i)}`, body: String(i) }]),
  })
  const archive = join(dir, 'image.tar')
  writeFileSync(archive, dockerArchive([image]))
  return archive
}

/** A chain in an overlay2 home: the folder of its top layer, and the short names from there down. */
export interface Chain {
  readonly home: string
  readonly parent: string
  readonly lowers: readonly string[]
}

/** Has the library load an image of `layers` layers into a store at `<dir>/root`. */
export function loadChain(dir: string, layers: number): Chain {
  return task<Chain>(NOW, 'chain', { root: join(dir, 'root'), archive: chainArchive(dir, layers) })
}

/** Of the names in a container's root those that its layers brought: the store's init layer adds its own. */
export function filesOf(names: readonly string[]): string[] {
  return names.filter((name) => name.startsWith('file-')).sort()
}

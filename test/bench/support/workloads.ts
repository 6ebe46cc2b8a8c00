/** Layers and images to measure with. Made without our code, once, and kept below ~/.cache/overlaid. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CACHE, downloadPackages, unpackPackages } from '../../../scripts/debian-packages.mjs'
import { type Layer, packLayer, packTar, writeDockerArchive } from '../../../scripts/docker-archive.mjs'
import { debianImage } from '../../fixtures/images/debian.mjs'
import { rawTar, type TarSpec } from '../../helpers/rawtar.ts'
import { GIB, MIB } from '../../helpers/sizes.ts'
import { IS_SMOKE } from './race.ts'

const FOLDER = join(CACHE, 'bench')
const FILES_PER_FOLDER = 100

/** In a smoke test a tenth: it is to show that everything runs. */
export const SMALL_FILES: number = IS_SMOKE ? 5000 : 50_000
export const LARGE_SIZE: number = IS_SMOKE ? 100 * MIB : GIB
/** For titles. */
export const LARGE: string = IS_SMOKE ? `${String(Math.round(LARGE_SIZE / MIB))} MiB` : '1 GiB'

export const IMAGE_NAME = 'workload:bench'

/**
 * A file of the cache, made when it is not there, so that what is made otherwise needs another name; and read once, so
 * that it is in memory from then on.
 */
async function cached(name: string, make: (path: string) => void | Promise<void>): Promise<string> {
  const path = join(FOLDER, name)
  if (!existsSync(path)) {
    const work = mkdtempSync(join(makeFolder(), 'work-'))
    try {
      await make(join(work, name))
      renameSync(join(work, name), path)
    } finally {
      rmSync(work, { recursive: true })
    }
  }
  execFileSync('sh', ['-c', 'cat "$0" > /dev/null', path])
  return path
}

function makeFolder(): string {
  mkdirSync(FOLDER, { recursive: true })
  return FOLDER
}

/** `count` files of a few bytes, a hundred in each folder, as a layer tar. */
export function smallFiles(count: number = SMALL_FILES): Promise<string> {
  return cached(`small-${String(count)}.tar`, (path) => {
    const members = Array.from({ length: count / FILES_PER_FOLDER }, (_, folder): TarSpec[] => [
      { name: `folder-${String(folder)}/` },
      ...Array.from({ length: FILES_PER_FOLDER }, (_, i) => ({
        name: `folder-${String(folder)}/file-${String(i)}`,
        body: String(i),
      })),
    ])
    return writeFile(path, rawTar(members.flat()))
  })
}

/** One file `file` of random bytes, as a layer tar. */
export function largeFile(size: number = LARGE_SIZE): Promise<string> {
  return cached(`file-${String(size)}.tar`, (path) => {
    const dir = `${path}.dir`
    mkdirSync(dir)
    execFileSync('sh', ['-c', 'head -c "$0" /dev/urandom > "$1"', String(size), join(dir, 'file')])
    packTar(path, dir, { clamp: true })
  })
}

/** What makes of the Debian image one of six layers. */
const SETS = [['git'], ['python3'], ['curl', 'vim-tiny']]
/** /bin and the like are symlinks of the first layer. */
const MERGED = ['bin', 'lib', 'lib64', 'sbin']

/** The Debian image with three layers of packages more: six layers, as a docker-archive. */
export async function sixLayers(): Promise<string> {
  const image = await debianImage()
  return cached('six-layers.tar', async (path) => {
    const work = `${path}.dir`
    mkdirSync(work)
    execFileSync('tar', ['-xf', image, '-C', work])
    const layers: Layer[] = layersIn(image).map((name) => ({
      tar: join(work, name),
      diffID: name.replace(/\.tar$/, ''),
      name,
    }))
    for (const [i, files] of downloadPackages(SETS).entries()) {
      const dir = join(work, String(i))
      unpackPackages(files, dir, MERGED)
      layers.push(await packLayer(SETS[i]?.join(' ') ?? '', dir, `${dir}.tar`))
    }
    writeDockerArchive(path, IMAGE_NAME, layers)
  })
}

/** The base layer of the Debian image, a minbase: 6,700 entries, 170 MB. */
export async function debianBase(): Promise<string> {
  const image = await debianImage()
  const [base = ''] = layersIn(image)
  return cached(`debian-${base}`, (path) => {
    execFileSync('sh', ['-c', 'tar -xOf "$0" "$1" > "$2"', image, base, path])
  })
}

/** A layer compressed with gzip at level 6, as registries keep them. */
export function gzipped(tar: string): Promise<string> {
  const name = `${tar.slice(tar.lastIndexOf('/') + 1)}.gz`
  return cached(name, (path) => void execFileSync('sh', ['-c', 'gzip -6nc "$0" > "$1"', tar, path]))
}

/** Layers, base first, as a docker-archive of the image {@link IMAGE_NAME}, each as it is: plain or gzip. */
export async function imageOf(...layers: readonly string[]): Promise<string> {
  const key = createHash('sha256').update(
    layers
      .map((tar) => `${tar} ${String(statSync(tar).size)}${isGzip(tar) ? ' by its digest' : ''}`)
      .join('\n'),
  )
  return cached(`image-${key.digest('hex').slice(0, 16)}.tar`, (path) => {
    writeDockerArchive(path, IMAGE_NAME, layers.map(described))
  })
}

function isGzip(tar: string): boolean {
  return tar.endsWith('.gz')
}

/** With the digest of its uncompressed bytes, and that of the file when it is another. */
function described(tar: string): Layer {
  const sha256 = (program: string): string =>
    execFileSync('sh', ['-c', `${program} | sha256sum`, tar], { encoding: 'utf8' }).slice(0, 64)
  if (!isGzip(tar)) return { tar, diffID: sha256('cat "$0"'), name: 'bench' }
  return { tar, diffID: sha256('gzip -dc "$0"'), digest: sha256('cat "$0"'), name: 'bench' }
}

/** The paths of a docker-archive's layers in it, base first. */
export function layersIn(archive: string): string[] {
  const manifest = execFileSync('tar', ['-xOf', archive, 'manifest.json'], { encoding: 'utf8' })
  const [image] = JSON.parse(manifest) as { Layers: string[] }[]
  return image?.Layers ?? []
}

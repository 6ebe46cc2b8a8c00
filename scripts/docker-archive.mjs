/**
 * docker-archives made of folders with GNU tar alone: what the demo and the tests load is made without our code.
 */
import { createHash } from 'node:crypto'
import { copyFileSync, createReadStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { run } from './debian-packages.mjs'

/** One mtime for what is made here, so that the same input gives the same layers: 2024-01-01. */
export const EPOCH = 1_704_067_200

/**
 * A layer as a tar file; `name` becomes its line of the image's history. A compressed one has its own digest too, by
 * which it is named in the archive, as Docker 25 does: whoever loads it has something to check.
 * @typedef {{ tar: string, diffID: string, name: string, digest?: string }} Layer
 */

/**
 * Packs names of `dir` into `file`: sorted, with numeric owners, PAX headers, xattrs.
 * @param {string} file
 * @param {string} dir
 * @param {{ names?: readonly string[], clamp?: boolean }} [options] `clamp`: no mtime is later than {@link EPOCH}
 */
export function packTar(file, dir, { names = ['.'], clamp = false } = {}) {
  // Without the deletions each member gets a PAX header with its atime and ctime, which differ from run to run.
  const format = [
    '--format=posix',
    '--pax-option=delete=atime,delete=ctime',
    '--sort=name',
    '--numeric-owner',
  ]
  const xattrs = ['--xattrs', '--xattrs-include=security.capability', '--xattrs-include=user.*']
  const times = clamp ? ['--clamp-mtime', `--mtime=@${String(EPOCH)}`] : []
  run('tar', [...format, ...xattrs, ...times, '-cf', file, '-C', dir, '--', ...names])
}

/**
 * @param {string} name
 * @param {string} dir
 * @param {string} tar where the layer's archive is written
 * @param {{ clamp?: boolean }} [options] see {@link packTar}
 * @returns {Promise<Layer>}
 */
export async function packLayer(name, dir, tar, options) {
  packTar(tar, dir, options)
  const hash = createHash('sha256')
  await pipeline(createReadStream(tar, { highWaterMark: 1 << 20 }), hash)
  return { tar, diffID: hash.digest('hex'), name }
}

/**
 * A docker-archive in the flat form that skopeo writes: manifest.json, the config, one tar a layer.
 * @param {string} file made, with its folder
 * @param {string} name the image's, e.g. `nginx:demo`
 * @param {readonly Layer[]} layers
 */
export function writeDockerArchive(file, name, layers) {
  const created = new Date(EPOCH * 1000).toISOString()
  const config = JSON.stringify({
    architecture: run('dpkg', ['--print-architecture']).trim(),
    config: { Cmd: ['/bin/sh'], Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'], WorkingDir: '/' },
    created,
    history: layers.map((layer) => ({ created, created_by: layer.name })),
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${layer.diffID}`) },
  })
  const configName = `${createHash('sha256').update(config).digest('hex')}.json`
  const names = layers.map(({ diffID, digest }) =>
    digest === undefined ? `${diffID}.tar` : `blobs/sha256/${digest}`,
  )
  const manifest = JSON.stringify([{ Config: configName, RepoTags: [name], Layers: names }])
  mkdirSync(dirname(file), { recursive: true })
  const parts = mkdtempSync(`${file}.`)
  try {
    writeFileSync(join(parts, configName), config)
    writeFileSync(join(parts, 'manifest.json'), manifest)
    mkdirSync(join(parts, 'blobs/sha256'), { recursive: true })
    for (const [i, layer] of layers.entries()) copyFileSync(layer.tar, join(parts, names[i] ?? ''))
    packTar(file, parts, { names: ['manifest.json', configName, ...names], clamp: true })
  } finally {
    rmSync(parts, { recursive: true })
  }
}

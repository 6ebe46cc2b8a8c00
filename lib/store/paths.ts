/**
 * Every path of the data root in one place. The layout is Docker's, so that dockerd and overlaid can take turns
 * on one root; what Docker has no place for is below `overlaid/`, which dockerd ignores.
 *
 *     <root>/                                  0710
 *       image/<driver>/                        0700
 *         imagedb/content/sha256/<hex>         0600  an image's config, byte for byte; its sha256 is the image id
 *         imagedb/metadata/sha256/<hex>/…      0600  parent, lastUpdated, builtLocally
 *         layerdb/sha256/<chainID hex>/        0700  diff, size, cache-id, parent, tar-split.json.gz (0644)
 *         layerdb/sha256/<hex>-<hex>-removing/       moby's tombstone of a layer whose folder is going away
 *         layerdb/mounts/<container id>/       0755  mount-id, init-id, parent (0644)
 *         layerdb/tmp/write-set-<random>/            a layer or mount entry being written, renamed when whole
 *         repositories.json                    0600  names
 *         distribution/                        0700  blobs that layers are known as: see distribution.ts
 *       <driver>/                              0710  the driver's home: see driver/overlay2/layout.ts
 *       containers/<id>/config.v2.json               containers that dockerd made: read, never written
 *       overlaid/                              0700
 *         version                              0600  `1\n`: the version of this folder's own files
 *         capabilities.json                    0600  what probing found in this boot: see info.ts
 *         verified.json                        0600  for which mount the driver was verified: see verified.ts
 *         lock                                 0600  the store lock: every decision about what is in use
 *         locks/<container id>                 0600  one container's (or image mount's) mount, unmount, rm, commit
 *         locks/layer-<chainID hex>            0600  a layer that is being pulled, by one at a time
 *         leases/<random>                      0600  layers and folders that a running process is making or needs
 *         containers/<id>.json                 0600  what mounts/ has no place for: name, image, config
 *         holds/<container id or ro-<image hex>>/<random>.json  0600  who has it mounted
 *         damaged/<chainID hex>            0600  a layer that check found changed: the next load replaces it
 *
 * Moby's files have no newline at the end: it reads `size` with strconv.ParseInt on the raw bytes.
 */
import { join } from 'node:path'
import { type ChainID, type Digest, hexOf } from '../oci/digest.ts'

/** Modes by kind of path; the numbers are dockerd's own. */
export const MODES = {
  root: 0o710,
  /** image/, image/<driver>, imagedb and below, layerdb, layerdb/sha256/<hex>. */
  privateDir: 0o700,
  /** layerdb/{sha256,mounts,tmp} and mounts/<name>; what they are in is closed. */
  openDir: 0o755,
  /** layerdb's files. */
  openFile: 0o644,
  /** imagedb's files, repositories.json and ours. */
  privateFile: 0o600,
} as const

/** All paths of one data root for one driver. */
export interface StorePaths {
  readonly root: string
  readonly driverName: string
  readonly imageDir: string
  readonly imageContent: string
  readonly imageMetadata: string
  readonly repositories: string
  readonly layerDB: string
  readonly layers: string
  readonly mounts: string
  readonly layerTmp: string
  readonly dockerContainers: string
  readonly own: string
  readonly version: string
  readonly capabilities: string
  readonly verified: string
  readonly lock: string
  readonly locks: string
  readonly leases: string
  readonly containers: string
  readonly holds: string
  readonly damaged: string
}

export function storePaths(root: string, driverName: string): StorePaths {
  const imageDir = join(root, 'image', driverName)
  const layerDB = join(imageDir, 'layerdb')
  const own = join(root, 'overlaid')
  return {
    root,
    driverName,
    imageDir,
    imageContent: join(imageDir, 'imagedb/content/sha256'),
    imageMetadata: join(imageDir, 'imagedb/metadata/sha256'),
    repositories: join(imageDir, 'repositories.json'),
    layerDB,
    layers: join(layerDB, 'sha256'),
    mounts: join(layerDB, 'mounts'),
    layerTmp: join(layerDB, 'tmp'),
    dockerContainers: join(root, 'containers'),
    own,
    version: join(own, 'version'),
    capabilities: join(own, 'capabilities.json'),
    verified: join(own, 'verified.json'),
    lock: join(own, 'lock'),
    locks: join(own, 'locks'),
    leases: join(own, 'leases'),
    containers: join(own, 'containers'),
    holds: join(own, 'holds'),
    damaged: join(own, 'damaged'),
  }
}

/** The folders that a store which is written to has, parents first, each with its mode. */
export function storeFolders(paths: StorePaths): readonly (readonly [path: string, mode: number])[] {
  const { root, imageDir, layerDB, own } = paths
  const d = MODES.privateDir
  return [
    [root, MODES.root],
    [join(root, 'image'), d],
    [imageDir, d],
    [join(imageDir, 'imagedb'), d],
    [join(imageDir, 'imagedb/content'), d],
    [paths.imageContent, d],
    [join(imageDir, 'imagedb/metadata'), d],
    [paths.imageMetadata, d],
    [layerDB, d],
    [paths.layers, MODES.openDir],
    [paths.mounts, MODES.openDir],
    [paths.layerTmp, MODES.openDir],
    [own, d],
    [paths.locks, d],
    [paths.leases, d],
    [paths.containers, d],
    [paths.holds, d],
  ]
}

export function layerDir(paths: StorePaths, chainID: ChainID): string {
  return join(paths.layers, hexOf(chainID))
}

export function imageFile(paths: StorePaths, id: Digest): string {
  return join(paths.imageContent, hexOf(id))
}

export function containerFile(paths: StorePaths, id: string): string {
  return join(paths.containers, `${id}.json`)
}

/** The folder of a container's holds; `ro-<hex>` for an image mounted read-only. */
export function holdsDir(paths: StorePaths, subject: string): string {
  return join(paths.holds, subject)
}

/**
 * Small images for tests: built from lists of tar members, written as the archives and layouts that docker,
 * skopeo and umoci write. Independent of lib/: digests and archives are made here, from scratch.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { rawTar, type TarSpec } from './rawtar.ts'

export interface ImageSpec {
  /** Each layer's members, or a whole layer tar. */
  readonly layers: readonly (readonly TarSpec[] | Buffer)[]
  /** Merged over the defaults of the image config. */
  readonly config?: Readonly<Record<string, unknown>>
  /** As docker writes them in RepoTags, e.g. `alpine:3.20`. */
  readonly names?: readonly string[]
}

export interface TestLayer {
  readonly tar: Buffer
  /** `sha256:…` of `tar`. */
  readonly diffID: string
}

export interface TestImage {
  readonly id: string
  readonly configBytes: Buffer
  readonly config: Record<string, unknown>
  readonly layers: readonly TestLayer[]
  readonly names: readonly string[]
}

export function sha256(bytes: Buffer | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

const hex = (digest: string): string => digest.slice('sha256:'.length)

/** The image that `spec` describes, with a config like docker's. */
export function buildImage(spec: ImageSpec): TestImage {
  const layers = spec.layers.map((layer) => {
    const tar = Buffer.isBuffer(layer) ? layer : rawTar(layer)
    return { tar, diffID: sha256(tar) }
  })
  const config: Record<string, unknown> = {
    architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch,
    config: { Cmd: ['/bin/sh'], Env: ['PATH=/usr/bin:/bin'] },
    created: '2024-05-06T07:08:09.123456789Z',
    history: layers.map((_, i) => ({ created: '2024-05-06T07:08:09Z', created_by: `step ${String(i)}` })),
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffID) },
    ...spec.config,
  }
  const configBytes = Buffer.from(JSON.stringify(config))
  return { id: sha256(configBytes), configBytes, config, layers, names: spec.names ?? [] }
}

/** Files of a folder or archive by path, in order. A symlink is `{ link }`. */
export type Files = Map<string, Buffer | { readonly link: string }>

export interface DockerArchiveOptions {
  /**
   * `legacy`: `<id>/layer.tar` folders with VERSION, json and `repositories`, a repeated layer as a symlink, as
   * docker 20.10 writes. `flat`: `<diffID>.tar`, as skopeo. `blobs`: under blobs/sha256, as docker 25 and later.
   */
  readonly style?: 'legacy' | 'flat' | 'blobs'
  readonly gzipLayers?: boolean
}

/** The members of a docker-archive of `images`. */
export function dockerFiles(images: readonly TestImage[], options: DockerArchiveOptions = {}): Files {
  const { style = 'legacy', gzipLayers = false } = options
  const files: Files = new Map()
  const at = new Map<string, string>()
  const manifest = images.map((image) => {
    const config = style === 'blobs' ? `blobs/sha256/${hex(image.id)}` : `${hex(image.id)}.json`
    files.set(config, image.configBytes)
    const layers = image.layers.map((layer, i) => {
      const body = gzipLayers ? gzipSync(layer.tar) : layer.tar
      if (style === 'flat') return put(files, `${hex(layer.diffID)}.tar`, body)
      if (style === 'blobs') return put(files, `blobs/sha256/${hex(sha256(body))}`, body)
      return legacyLayer(files, at, {
        id: hex(sha256(`${image.id}/${String(i)}`)),
        diffID: layer.diffID,
        body,
      })
    })
    return { Config: config, RepoTags: image.names.length > 0 ? image.names : null, Layers: layers }
  })
  files.set('manifest.json', Buffer.from(JSON.stringify(manifest)))
  if (style === 'legacy') files.set('repositories', Buffer.from('{}'))
  return files
}

function legacyLayer(
  files: Files,
  at: Map<string, string>,
  layer: { readonly id: string; readonly diffID: string; readonly body: Buffer },
): string {
  files.set(`${layer.id}/VERSION`, Buffer.from('1.0'))
  files.set(`${layer.id}/json`, Buffer.from(JSON.stringify({ id: layer.id })))
  const path = `${layer.id}/layer.tar`
  const first = at.get(layer.diffID)
  if (first === undefined) at.set(layer.diffID, path)
  files.set(path, first === undefined ? layer.body : { link: `../${first}` })
  return path
}

function put(files: Files, path: string, body: Buffer): string {
  files.set(path, body)
  return path
}

export interface OCIOptions {
  readonly gzipLayers?: boolean
  /** Annotations of the index entry of each image; default: ref.name and io.containerd.image.name per name. */
  readonly annotations?: (image: TestImage, name: string | undefined) => Record<string, string>
  readonly platform?: (image: TestImage) => Record<string, string> | undefined
}

export const OCI = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  tar: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const

export interface TestDescriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly [key: string]: unknown
}

/** Adds `bytes` as a blob and describes it. */
export function addBlob(files: Files, mediaType: string, bytes: Buffer | object): TestDescriptor {
  const body = Buffer.isBuffer(bytes) ? bytes : Buffer.from(JSON.stringify(bytes))
  const digest = sha256(body)
  files.set(`blobs/sha256/${hex(digest)}`, body)
  return { mediaType, digest, size: body.length }
}

/** Adds the manifest of `image` with its blobs and describes it. */
export function addManifest(files: Files, image: TestImage, gzipLayers = false): TestDescriptor {
  const layers = image.layers.map(({ tar }) =>
    gzipLayers ? addBlob(files, OCI.gzip, gzipSync(tar)) : addBlob(files, OCI.tar, tar),
  )
  const config = addBlob(files, OCI.config, image.configBytes)
  return addBlob(files, OCI.manifest, { schemaVersion: 2, mediaType: OCI.manifest, config, layers })
}

/** The files of an OCI image layout of `images`. */
export function ociFiles(images: readonly TestImage[], options: OCIOptions = {}): Files {
  const files: Files = new Map([['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')]])
  const manifests = images.flatMap((image) => {
    const manifest = addManifest(files, image, options.gzipLayers)
    const platform = options.platform?.(image)
    const names = image.names.length > 0 ? image.names : [undefined]
    return names.map((name) => ({
      ...manifest,
      ...(platform && { platform }),
      annotations: (options.annotations ?? dockerAnnotations)(image, name),
    }))
  })
  return withIndex(files, manifests)
}

function dockerAnnotations(_image: TestImage, name: string | undefined): Record<string, string> {
  if (name === undefined) return {}
  return {
    'io.containerd.image.name': name.includes('/') ? name : `docker.io/library/${name}`,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  }
}

/** Sets index.json to list `manifests`. */
export function withIndex(files: Files, manifests: readonly object[]): Files {
  return files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })))
}

/** One tar of `files`. */
export function archive(files: Files): Buffer {
  return rawTar(
    [...files].map(([name, body]): TarSpec =>
      Buffer.isBuffer(body) ? { name, body } : { name, type: 'symlink', linkname: body.link },
    ),
  )
}

export const dockerArchive = (images: readonly TestImage[], options?: DockerArchiveOptions): Buffer =>
  archive(dockerFiles(images, options))

export const ociArchive = (images: readonly TestImage[], options?: OCIOptions): Buffer =>
  archive(ociFiles(images, options))

/** Writes `files` under `dir`, which is made when missing. Symlinks are not written. */
export function writeFiles(dir: string, files: Files): void {
  for (const [name, body] of files) {
    if (!Buffer.isBuffer(body)) throw new Error(`writeFiles: ${name} is a symlink`)
    mkdirSync(join(dir, dirname(name)), { recursive: true })
    writeFileSync(join(dir, name), body)
  }
}

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hostPlatform } from '../../lib/oci/platform.ts'
import { type OpenOptions, openImageSource } from '../../lib/transfer/open.ts'
import type { ImageSource } from '../../lib/transfer/source.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import {
  type Files,
  OCI,
  type TestDescriptor,
  type TestImage,
  addBlob,
  addManifest,
  buildImage,
  ociFiles,
  sha256,
  withIndex,
  writeFiles,
} from '../helpers/image.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'oci-layout-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

const base = [{ name: 'base', body: 'B' }]
const image = buildImage({ layers: [base, [{ name: 'top', body: 'T' }]], names: ['a:1'] })
const host = hostPlatform()

function open(files: Files, options: Partial<OpenOptions> = {}): Promise<ImageSource> {
  writeFiles(dir, files)
  return openImageSource(dir, { spoolDir: dir, ...options })
}

/** Files with no index yet. */
const empty = (): Files => new Map([['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')]])

/** The image that a platform's files would make. */
function forPlatform(architecture: string, variant?: string): TestImage {
  return buildImage({
    layers: [[{ name: architecture + (variant ?? '') }]],
    config: { architecture, variant },
  })
}

/** The id of the one image that was read. */
async function idOf(files: Files, options: Partial<OpenOptions> = {}): Promise<string> {
  await using source = await open(files, options)
  expect(source.images).toHaveLength(1)
  return sha256(source.images[0]!.configBytes)
}

describe('names in an OCI layout', () => {
  const named = (
    annotations: Record<string, string>,
    options: Partial<OpenOptions> = {},
  ): Promise<readonly string[]> =>
    (async () => {
      await using source = await open(ociFiles([image], { annotations: () => annotations }), options)
      return source.images[0]!.names
    })()

  it.each([
    [
      'containerd',
      { 'io.containerd.image.name': 'ghcr.io/a/b:1', 'org.opencontainers.image.ref.name': '1' },
      ['ghcr.io/a/b:1'],
    ],
    ['podman', { 'org.opencontainers.image.ref.name': 'localhost/a:1' }, ['localhost/a:1']],
    ['skopeo, a name', { 'org.opencontainers.image.ref.name': 'alpine:3' }, ['docker.io/library/alpine:3']],
    ['umoci, a tag', { 'org.opencontainers.image.ref.name': 'latest' }, []],
    ['free text', { 'org.opencontainers.image.ref.name': 'My image: v1!' }, []],
    ['a wrong name', { 'io.containerd.image.name': '../../x' }, []],
    ['nothing', {}, []],
  ])('are taken as %s writes them', async (_what, annotations, names) => {
    expect(await named(annotations as Record<string, string>)).toEqual(names)
  })

  it('have the repository that the caller gives, when they are tags', async () => {
    const tag = { 'org.opencontainers.image.ref.name': '3.20' }
    expect(await named(tag, { name: 'alpine' })).toEqual(['docker.io/library/alpine:3.20'])
  })

  it('belong to one image each: two entries of one manifest are one image, and the first of two manifests counts', async () => {
    const other = buildImage({ layers: [base] })
    const files = empty()
    const [first, second] = [addManifest(files, image), addManifest(files, other)]
    const entry = (descriptor: TestDescriptor, name: string): object => ({
      ...descriptor,
      annotations: { 'io.containerd.image.name': name },
    })
    withIndex(files, [entry(first, 'a:1'), entry(first, 'a:2'), entry(second, 'a:1'), entry(second, 'b:1')])
    await using source = await open(files)
    expect(source.images.map(({ names }) => names)).toEqual([
      ['docker.io/library/a:1', 'docker.io/library/a:2'],
      ['docker.io/library/b:1'],
    ])
  })
})

describe('an image for many platforms', () => {
  const arm = forPlatform('arm64')
  const here = forPlatform(host.architecture)
  const old = forPlatform('386')

  const listed = (files: Files, images: readonly TestImage[], isStated: boolean): TestDescriptor =>
    addBlob(files, OCI.index, {
      schemaVersion: 2,
      manifests: images.map((image) => ({
        ...addManifest(files, image),
        ...(isStated && { platform: { os: 'linux', architecture: image.config['architecture'] } }),
      })),
    })

  it.each([true, false])('is the one for this machine (platforms stated: %s)', async (isStated) => {
    const others = [old, forPlatform('s390x')]
    const files = empty()
    expect(await idOf(withIndex(files, [listed(files, [...others, here], isStated)]))).toBe(here.id)
  })

  it('may have its platforms in index.json itself', async () => {
    const files = empty()
    const manifests = [old, here, forPlatform('s390x')].map((image) => ({
      ...addManifest(files, image),
      platform: { os: 'linux', architecture: image.config['architecture'] },
    }))
    expect(await idOf(withIndex(files, manifests))).toBe(here.id)
  })

  it('is chosen by variant: the best that runs, not the first', async () => {
    const files = empty()
    const variants = ['v5', 'v7', 'v6', 'v8'].map((variant) => forPlatform('arm', variant))
    const manifests = variants.map((image) => ({
      ...addManifest(files, image),
      platform: { os: 'linux', architecture: 'arm', variant: image.config['variant'] },
    }))
    withIndex(files, [addBlob(files, OCI.index, { schemaVersion: 2, manifests })])
    expect(await idOf(files, { platform: { os: 'linux', architecture: 'arm' } })).toBe(variants[1]!.id)
  })

  it('says what there is when nothing fits', async () => {
    const files = empty()
    const platform = { os: 'linux', architecture: 'riscv64' }
    for (const isStated of [true, false]) {
      withIndex(files, [listed(files, [arm, old], isStated)])
      await expect(open(files, { platform })).rejects.toMatchObject({
        code: 'ERR_UNSUPPORTED_PLATFORM',
        message: expect.stringContaining('linux/arm64, linux/386') as string,
      })
    }
  })

  it('is taken when there is no choice, whatever it is for', async () => {
    const files = empty()
    const other = forPlatform('s390x')
    expect(await idOf(withIndex(files, [listed(files, [other], true)]))).toBe(other.id)
  })

  it('is read once, however many ways lead to it', async () => {
    expect(await idOf(fanned())).toBe(image.id)
  })

  it('has attestations and signatures in it, that are no images', async () => {
    const files = empty()
    const manifest = addManifest(files, here)
    const attestation = {
      ...addBlob(files, OCI.manifest, { schemaVersion: 2, config: manifest, layers: [] }),
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
    }
    const signature = { ...addBlob(files, OCI.manifest, { x: 1 }), artifactType: 'application/sig' }
    const unknown = addBlob(files, 'application/x-unknown', { y: 1 })
    const list = addBlob(files, OCI.index, { schemaVersion: 2, manifests: [attestation, unknown, manifest] })
    expect(await idOf(withIndex(files, [signature, list, unknown]))).toBe(here.id)
  })
})

describe('an OCI layout', () => {
  const manifestOf = (files: Files, change: (manifest: Record<string, unknown>) => void): Files => {
    const descriptor = addManifest(files, image, true)
    const manifest = JSON.parse(
      (files.get(`blobs/sha256/${descriptor.digest.slice(7)}`) as Buffer).toString(),
    ) as Record<string, unknown>
    change(manifest)
    return withIndex(files, [addBlob(files, OCI.manifest, manifest)])
  }
  type Descriptors = { mediaType: string; digest: string; size: number }[]

  const cases: readonly (readonly [string, () => Files, string, string])[] = [
    ['no index.json', empty, 'ERR_BAD_MANIFEST', 'index.json'],
    ['an empty index', () => withIndex(empty(), []), 'ERR_BAD_MANIFEST', 'empty'],
    [
      'a later version',
      () => ociFiles([image]).set('oci-layout', Buffer.from('{"imageLayoutVersion":"2.0.0"}')),
      'ERR_UNSUPPORTED_MEDIA_TYPE',
      '2.0.0',
    ],
    [
      'a broken oci-layout',
      () => ociFiles([image]).set('oci-layout', Buffer.from('{')),
      'ERR_BAD_MANIFEST',
      'oci-layout',
    ],
    [
      'a broken index',
      () => ociFiles([image]).set('index.json', Buffer.from('{')),
      'ERR_BAD_MANIFEST',
      'index.json',
    ],
    [
      'an entry with a path for a digest',
      () => withIndex(empty(), [{ mediaType: OCI.manifest, digest: 'sha256:../../../etc/passwd', size: 1 }]),
      'ERR_BAD_MANIFEST',
      'digest',
    ],
    [
      'an entry of sha512',
      () => withIndex(empty(), [{ mediaType: OCI.manifest, digest: `sha512:${'0'.repeat(128)}`, size: 1 }]),
      'ERR_BAD_MANIFEST',
      'sha512',
    ],
    [
      'a manifest that is missing',
      () => withIndex(empty(), [{ mediaType: OCI.manifest, digest: sha256('x'), size: 1 }]),
      'ERR_BAD_MANIFEST',
      sha256('x').slice(7),
    ],
    [
      'a manifest of another size',
      () => withIndexed((files, manifest) => ({ ...manifest, size: manifest.size + 1 })),
      'ERR_SIZE_MISMATCH',
      'bytes',
    ],
    [
      'a manifest with another digest',
      () =>
        withIndexed((files, manifest) => {
          files.set(`blobs/sha256/${manifest.digest.slice(7)}`, Buffer.alloc(manifest.size, ' '))
          return manifest
        }),
      'ERR_DIGEST_MISMATCH',
      'digest',
    ],
    [
      'a manifest that is too large',
      () => withIndexed((files) => addBlob(files, OCI.manifest, Buffer.alloc(2 ** 22 + 1))),
      'ERR_LIMIT_EXCEEDED',
      '4 MiB',
    ],
    [
      'only things that are no images',
      () => withIndexed((files) => addBlob(files, 'application/vnd.cncf.helm', { a: 1 })),
      'ERR_UNSUPPORTED_MEDIA_TYPE',
      'helm',
    ],
    [
      'an artifact',
      () =>
        manifestOf(
          empty(),
          (manifest) => ((manifest['config'] as Descriptors[0]).mediaType = 'application/vnd.wasm'),
        ),
      'ERR_UNSUPPORTED_MEDIA_TYPE',
      'wasm',
    ],
    [
      'a config with another digest',
      () => withConfig((bytes) => Buffer.from(bytes.toString().replace('linux', 'lunix'))),
      'ERR_DIGEST_MISMATCH',
      'config',
    ],
    [
      'a layer too few',
      () => manifestOf(empty(), (manifest) => (manifest['layers'] as Descriptors).pop()),
      'ERR_BAD_MANIFEST',
      '1 layers',
    ],
    [
      'a foreign layer',
      () =>
        manifestOf(
          empty(),
          (manifest) =>
            ((manifest['layers'] as Descriptors)[0]!.mediaType =
              'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'),
        ),
      'ERR_UNSUPPORTED_MEDIA_TYPE',
      'foreign',
    ],
    [
      'an encrypted layer',
      () =>
        manifestOf(
          empty(),
          (manifest) => ((manifest['layers'] as Descriptors)[0]!.mediaType += '+encrypted'),
        ),
      'ERR_UNSUPPORTED_MEDIA_TYPE',
      'encrypted',
    ],
    ['indexes without end', nested, 'ERR_LIMIT_EXCEEDED', 'nested'],
    [
      'an index of nothing',
      () => withIndexed((files) => addBlob(files, OCI.index, { schemaVersion: 2, manifests: [] })),
      'ERR_BAD_MANIFEST',
      'empty',
    ],
  ]
  it.each(cases)('is refused with %s', async (_what, files, code, words) => {
    await expect(open(files())).rejects.toMatchObject({
      code,
      message: expect.stringContaining(words) as string,
    })
  })

  const blob = (files: Files, of: (descriptor: TestDescriptor) => boolean): string => {
    const manifest = addManifest(files, image, true)
    const { layers } = JSON.parse(
      (files.get(`blobs/sha256/${manifest.digest.slice(7)}`) as Buffer).toString(),
    ) as { layers: TestDescriptor[] }
    withIndex(files, [manifest])
    return `blobs/sha256/${layers.find(of)!.digest.slice(7)}`
  }

  it.each([
    ['missing', undefined, 'ERR_BAD_MANIFEST'],
    ['too short', (bytes: Buffer) => bytes.subarray(1), 'ERR_SIZE_MISMATCH'],
    ['too long', (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)]), 'ERR_SIZE_MISMATCH'],
    ['changed', (bytes: Buffer) => Buffer.from(bytes.map((byte) => byte ^ 1)), 'ERR_DIGEST_MISMATCH'],
  ])('opens with a layer that is %s, and fails when that is read', async (_what, change, code) => {
    const files = empty()
    const path = blob(files, () => true)
    const bytes = files.get(path) as Buffer
    if (change === undefined) files.delete(path)
    else files.set(path, change(bytes))
    await using source = await open(files)
    const [broken, whole] = source.images[0]!.layers
    await expect(collect(broken!.open())).rejects.toMatchObject({ code })
    expect(await collect(whole!.open())).not.toHaveLength(0)
  })

  it('may have its blobs behind symlinks, but no fifos and folders', async () => {
    const files = empty()
    const path = blob(files, () => true)
    writeFiles(dir, files)
    rmSync(join(dir, path))
    writeFileSync(join(dir, 'elsewhere'), files.get(path) as Buffer)
    symlinkSync(join(dir, 'elsewhere'), join(dir, path))
    await using source = await openImageSource(dir, { spoolDir: dir })
    const [layer] = source.images[0]!.layers
    expect(await collect(layer!.open())).toEqual(files.get(path))
    for (const make of [() => mkdirSync(join(dir, path)), () => execFileSync('mkfifo', [join(dir, path)])]) {
      rmSync(join(dir, path), { recursive: true })
      make()
      await expect(collect(layer!.open())).rejects.toMatchObject({ code: 'ERR_BAD_MANIFEST' })
    }
  })
})

/** A layout whose index has what `change` makes of the image's manifest. */
function withIndexed(change: (files: Files, manifest: TestDescriptor) => TestDescriptor): Files {
  const files = empty()
  return withIndex(files, [change(files, addManifest(files, image))])
}

/** A layout whose config blob is other bytes, of the same length, than its name says. */
function withConfig(change: (bytes: Buffer) => Buffer): Files {
  const files = ociFiles([image])
  const path = `blobs/sha256/${image.id.slice(7)}`
  return files.set(path, change(files.get(path) as Buffer))
}

function nested(): Files {
  return withIndexed((files, manifest) => {
    let inner = manifest
    for (let i = 0; i < 6; i++) inner = addBlob(files, OCI.index, { schemaVersion: 2, manifests: [inner] })
    return inner
  })
}

/** 100 indexes that list 100 indexes that list 100 indexes of one image: a million ways to it. */
function fanned(): Files {
  return withIndexed((files, manifest) => {
    let level = [manifest]
    for (let depth = 0; depth < 3; depth++) {
      const manifests = level
      level = Array.from({ length: 100 }, (_, i) =>
        addBlob(files, OCI.index, { schemaVersion: 2, manifests, annotations: { n: String(i) } }),
      )
    }
    return addBlob(files, OCI.index, { schemaVersion: 2, manifests: level })
  })
}

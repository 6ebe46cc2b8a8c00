import { describe, expect, it } from 'vitest'
import { formatDockerManifest, parseDockerManifest } from '../../lib/oci/docker-manifest.ts'
import { LAYOUT_FILE, checkLayoutFile } from '../../lib/oci/layout.ts'
import {
  type Descriptor,
  formatIndex,
  formatManifest,
  parseLayoutIndex,
  parseManifest,
} from '../../lib/oci/manifest.ts'
import {
  DOCKER_INDEX,
  DOCKER_MANIFEST,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  checkLayerType,
} from '../../lib/oci/media-types.ts'
import { digestOf } from '../../lib/oci/digest.ts'

const config: Descriptor = { mediaType: OCI_CONFIG, digest: digestOf('c'), size: 1 }
const layer: Descriptor = { mediaType: OCI_LAYER, digest: digestOf('l'), size: 1 }
const bytes = (value: unknown): Buffer =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
const read = (value: unknown, type: string = OCI_MANIFEST): ReturnType<typeof parseManifest> =>
  parseManifest(bytes(value), type, 'the manifest')

describe('parseManifest', () => {
  it('reads what formatManifest and formatIndex write', () => {
    const manifest = formatManifest(config, [layer, layer])
    expect(parseManifest(manifest, OCI_MANIFEST, 'x')).toEqual({
      kind: 'manifest',
      config,
      layers: [layer, layer],
    })
    const annotations = { 'org.opencontainers.image.ref.name': 'a' }
    const entry = {
      ...config,
      mediaType: OCI_MANIFEST,
      annotations,
      platform: { os: 'linux', architecture: 'arm' },
    }
    expect(parseLayoutIndex(formatIndex([entry]))).toEqual({ kind: 'index', manifests: [entry] })
  })

  it("reads docker's media types in the same form", () => {
    const manifest = { schemaVersion: 2, mediaType: DOCKER_MANIFEST, config, layers: null, extra: 1 }
    expect(read(manifest, DOCKER_MANIFEST)).toEqual({ kind: 'manifest', config, layers: [] })
    const list = { schemaVersion: 2, mediaType: DOCKER_INDEX, manifests: [config] }
    expect(read(list, DOCKER_INDEX)).toEqual({ kind: 'index', manifests: [config] })
  })

  const good = { schemaVersion: 2, config, layers: [layer] }
  it.each([
    ['no schemaVersion', { config, layers: [] }, 'ERR_BAD_MANIFEST'],
    ['a later schemaVersion', { ...good, schemaVersion: 3 }, 'ERR_BAD_MANIFEST'],
    ["docker's first schema", { schemaVersion: 1, fsLayers: [] }, 'ERR_UNSUPPORTED_MEDIA_TYPE'],
    ['no config', { schemaVersion: 2, layers: [] }, 'ERR_BAD_MANIFEST'],
    ['both kinds at once', { ...good, manifests: [] }, 'ERR_BAD_MANIFEST'],
    ['another kind than described', { ...good, mediaType: OCI_INDEX }, 'ERR_BAD_MANIFEST'],
    ['a negative size', { ...good, layers: [{ ...layer, size: -1 }] }, 'ERR_BAD_MANIFEST'],
    ['a fractional size', { ...good, layers: [{ ...layer, size: 1.5 }] }, 'ERR_BAD_MANIFEST'],
    ['a size beyond 2^53', { ...good, layers: [{ ...layer, size: 2 ** 53 }] }, 'ERR_BAD_MANIFEST'],
    [
      'an infinite size',
      JSON.stringify({ ...good, layers: [{ ...layer, size: 1 }] }).replace('"size":1}]', '"size":1e999}]'),
      'ERR_BAD_MANIFEST',
    ],
    ['a size of text', { ...good, layers: [{ ...layer, size: '1' }] }, 'ERR_BAD_MANIFEST'],
    [
      'a digest that is a path',
      { ...good, config: { ...config, digest: 'sha256:../x' } },
      'ERR_BAD_MANIFEST',
    ],
    ['another digest algorithm', { ...good, config: { ...config, digest: 'sha512:00' } }, 'ERR_BAD_MANIFEST'],
    ['no digest', { ...good, config: { mediaType: 'x', size: 1 } }, 'ERR_BAD_MANIFEST'],
    ['a list', [], 'ERR_BAD_MANIFEST'],
    ['null', 'null', 'ERR_BAD_MANIFEST'],
    ['text', 'hello', 'ERR_BAD_MANIFEST'],
  ])('refuses %s', (_what, value, code) => {
    expect(() => read(value)).toThrowError(expect.objectContaining({ code }))
  })

  it('refuses an index with the fields of a manifest', () => {
    const both = { schemaVersion: 2, manifests: [], layers: [layer] }
    expect(() => parseLayoutIndex(bytes(both))).toThrow('an index and of a manifest')
  })

  it('refuses to read what it does not know the media type of', () => {
    expect(() => read(good, 'application/vnd.oci.artifact.manifest.v1+json')).toThrowError(
      expect.objectContaining({
        code: 'ERR_UNSUPPORTED_MEDIA_TYPE',
        message: expect.stringContaining('oci.artifact') as string,
      }),
    )
  })
})

describe('checkLayerType', () => {
  it.each([
    OCI_LAYER,
    `${OCI_LAYER}+gzip`,
    `${OCI_LAYER}+zstd`,
    'application/vnd.docker.image.rootfs.diff.tar',
    'application/vnd.docker.image.rootfs.diff.tar.gzip',
    'application/vnd.docker.image.rootfs.diff.tar.zstd',
  ])('takes %s', (type) => {
    expect(() => checkLayerType(type, 'the layer')).not.toThrow()
  })

  it.each([
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'foreign'],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', 'foreign'],
    [`${OCI_LAYER}+encrypted`, 'encrypted'],
    [`${OCI_LAYER}+gzip+encrypted`, 'encrypted'],
    ['application/vnd.in-toto+json', 'in-toto'],
    ['', 'the layer'],
  ])('refuses %s', (type, word) => {
    expect(() => checkLayerType(type, 'the layer')).toThrowError(
      expect.objectContaining({
        code: 'ERR_UNSUPPORTED_MEDIA_TYPE',
        message: expect.stringContaining(word) as string,
      }),
    )
  })
})

describe('checkLayoutFile', () => {
  it('takes version 1', () => {
    expect(() => checkLayoutFile(LAYOUT_FILE)).not.toThrow()
    expect(() => checkLayoutFile(bytes({ imageLayoutVersion: '1.1.0' }))).not.toThrow()
  })

  it.each([
    [{ imageLayoutVersion: '2.0.0' }, 'ERR_UNSUPPORTED_MEDIA_TYPE'],
    [{ imageLayoutVersion: 1 }, 'ERR_BAD_MANIFEST'],
    [{}, 'ERR_BAD_MANIFEST'],
    ['', 'ERR_BAD_MANIFEST'],
  ])('refuses %j', (value, code) => {
    expect(() => checkLayoutFile(bytes(value))).toThrowError(expect.objectContaining({ code }))
  })
})

describe('manifest.json', () => {
  const entry = { Config: 'c.json', RepoTags: ['a:1'], Layers: ['l.tar'] }

  it('reads what it writes, and what docker writes', () => {
    const entries = [entry, { ...entry, RepoTags: [] }]
    expect(parseDockerManifest(formatDockerManifest(entries))).toEqual(entries)
    expect(formatDockerManifest([{ ...entry, RepoTags: [] }]).toString()).toBe(
      '[{"Config":"c.json","RepoTags":null,"Layers":["l.tar"]}]',
    )
    const docker = [{ Config: 'c', RepoTags: null, Layers: null, LayerSources: {}, Parent: '' }]
    expect(parseDockerManifest(bytes(docker))).toEqual([{ Config: 'c', RepoTags: [], Layers: [] }])
    expect(parseDockerManifest(bytes([]))).toEqual([])
  })

  it.each([
    ['an object', entry],
    ['no config', [{ RepoTags: [], Layers: [] }]],
    ['an empty config', [{ ...entry, Config: '' }]],
    ['an empty layer path', [{ ...entry, Layers: [''] }]],
    ['layers that are no list', [{ ...entry, Layers: 'l.tar' }]],
    ['tags of numbers', [{ ...entry, RepoTags: [1] }]],
    ['half a file', '[{"Config":'],
    ['null', 'null'],
  ])('refuses %s', (_what, value) => {
    expect(() => parseDockerManifest(bytes(value))).toThrowError(
      expect.objectContaining({
        code: 'ERR_BAD_MANIFEST',
        message: expect.stringMatching(/^manifest.json/) as string,
      }),
    )
  })
})

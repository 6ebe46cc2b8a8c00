/** Archives of the peers are read, and ours are read by the peers: docker, containerd, skopeo, umoci. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { parseConfig } from '../../lib/oci/config.ts'
import { type DiffID, type Digest, Measured } from '../../lib/oci/digest.ts'
import { decompressed } from '../../lib/transfer/compression.ts'
import { openImageSource } from '../../lib/transfer/open.ts'
import type { ExportImage } from '../../lib/transfer/source.ts'
import { type ArchiveFormat, writeArchive } from '../../lib/transfer/write.ts'
import { type Containerd, startContainerd } from '../helpers/containerd.ts'
import { startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { type TestImage, buildImage, dockerArchive, ociFiles, writeFiles } from '../helpers/image.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const shared = [{ name: 'etc/' }, { name: 'etc/shared', body: 'S'.repeat(5000) }]
const one = buildImage({
  layers: [shared, [{ name: 'one', body: '1' }], [{ name: 'etc/.wh.shared', body: '' }]],
  names: ['one:1', 'one:latest'],
})
/** A layer twice, which docker 20.10 saves as a link. */
const two = buildImage({
  layers: [shared, [{ name: 'two', body: '2' }], shared],
  names: ['example.org:5000/a/two:2'],
})
const images = [one, two]

const NAMES = [['docker.io/library/one:1', 'docker.io/library/one:latest'], ['example.org:5000/a/two:2']]

function scratch(): string {
  const dir = tempDir('archives')
  onTestFinished(() => {
    dir[Symbol.dispose]()
  })
  return dir.path
}

const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const skopeo = (...args: string[]): string => run('skopeo', '--insecure-policy', ...args)

/** Opens a file or folder and reads all layers; the diffIDs of each image are checked on the way. */
async function expectImages(
  path: string,
  expected: readonly TestImage[],
  names?: readonly string[][],
): Promise<void> {
  await using source = await openImageSource(path, { spoolDir: join(path, '..', 'spool') })
  const sorted = source.images.toSorted((a, b) =>
    (a.layers.length + a.names.join()).localeCompare(b.layers.length + b.names.join()),
  )
  expect(sorted).toHaveLength(expected.length)
  for (const [i, image] of sorted.entries()) {
    const read: string[] = []
    for (const layer of image.layers) {
      const measured = new Measured(decompressed(layer.open(), 'layer'))
      await collect(measured)
      read.push(measured.digest)
    }
    expect(read).toEqual(expected[i]!.layers.map((layer) => layer.diffID))
    if (names !== undefined) expect(image.names.toSorted()).toEqual(names[i])
  }
}

function exported(image: TestImage, names: readonly string[]): ExportImage {
  const layers = image.layers.map(({ diffID, tar }) => ({
    diffID: diffID as DiffID,
    size: tar.length,
    open: () => streamOf(tar),
  }))
  const { configBytes } = image
  return { id: image.id as Digest, configBytes, config: parseConfig(configBytes), names, layers }
}

/** Our archive of `list`, with the names of NAMES. */
async function save(
  path: string,
  format: ArchiveFormat,
  list: readonly TestImage[] = images,
): Promise<string> {
  const withNames = list.map((image) => exported(image, NAMES[images.indexOf(image)] ?? []))
  await writeFile(path, await collect(writeArchive(withNames, { format })))
  return path
}

/** Our archives go into dockerd, and come out of it as docker's. */
describe.skipIf(missing('hasDocker', 'hasDockerd', 'canMount'))('docker', () => {
  it('loads what we write and saves what we read', async () => {
    const dir = scratch()
    await using dockerd = await startDockerd(join(dir, 'root'), join(dir, 'scratch'))
    dockerd.docker('load', '-i', await save(join(dir, 'ours.tar'), 'docker'))
    for (const image of images) {
      for (const name of image.names) {
        const [id, layers] = dockerd
          .docker('inspect', '-f', '{{.Id}} {{json .RootFS.Layers}}', name)
          .split(' ')
        expect(id).toBe(image.id)
        expect(JSON.parse(layers!)).toEqual(image.layers.map((layer) => layer.diffID))
      }
    }
    const saved = join(dir, 'docker.tar')
    dockerd.docker('save', '-o', saved, 'one:1', 'one:latest', 'example.org:5000/a/two:2')
    expect(run('tar', '-tvf', saved)).toMatch(/layer\.tar -> \.\.\/[0-9a-f]{64}\/layer\.tar/)
    await expectImages(saved, images, NAMES)
    writeFileSync(join(dir, 'docker.tar.gz'), execFileSync('gzip', ['-c', saved]))
    await expectImages(join(dir, 'docker.tar.gz'), images, NAMES)
  })
})

describe.skipIf(missing('hasContainerd', 'hasCtr', 'canMount'))('containerd', () => {
  const listed = (containerd: Containerd): string[] =>
    containerd.ctr('images', 'ls', '-q').trim().split('\n').sort()

  it.each(['docker', 'oci'] as const)(
    'imports what we write (%s) and exports what we read',
    async (format) => {
      const dir = scratch()
      await using containerd = await startContainerd(join(dir, 'containerd'))
      // It unpacks all layers, and so checks their diffIDs.
      containerd.ctr('images', 'import', await save(join(dir, 'ours.tar'), format))
      expect(listed(containerd)).toEqual(NAMES.flat().sort())
      expect(containerd.ctr('images', 'check')).not.toMatch(/incomplete|unavailable/)
      const exportedFile = join(dir, 'exported.tar')
      containerd.ctr('images', 'export', exportedFile, ...NAMES.flat())
      await expectImages(exportedFile, images, NAMES)
    },
  )
})

describe.skipIf(missing('hasSkopeo'))('skopeo', () => {
  it('reads our archives', async () => {
    const dir = scratch()
    const docker = await save(join(dir, 'docker.tar'), 'docker')
    const oci = await save(join(dir, 'oci.tar'), 'oci', [one])
    for (const [image, from] of [
      [one, `docker-archive:${docker}:docker.io/library/one:1`],
      [two, `docker-archive:${docker}:example.org:5000/a/two:2`],
      [one, `oci-archive:${oci}:latest`],
    ] as const) {
      expect(JSON.parse(skopeo('inspect', '--config', '--raw', from))).toEqual(image.config)
      // Copying checks every digest.
      const copy = join(dir, `copy-${String(readdirSync(dir).length)}`)
      skopeo('copy', from, `dir:${copy}`)
    }
  })

  it.each([
    ['docker-archive', 'one.tar', ':docker.io/library/one:1', ['docker.io/library/one:1']],
    ['oci-archive', 'one.tar', ':one:1', ['docker.io/library/one:1']],
    ['oci-archive', 'one.tar', ':1', []],
    ['oci', 'one', ':one:1', ['docker.io/library/one:1']],
    ['oci', 'one', '', []],
  ])('writes %s:%s%s, which we read', async (transport, file, tag, names) => {
    const dir = scratch()
    writeFileSync(join(dir, 'from.tar'), dockerArchive([one]))
    skopeo('copy', `docker-archive:${join(dir, 'from.tar')}:one:1`, `${transport}:${join(dir, file)}${tag}`)
    await expectImages(join(dir, file), [one], [names])
  })

  it('adds images to a layout one by one, of which we read all', async () => {
    const dir = scratch()
    writeFileSync(join(dir, 'from.tar'), dockerArchive(images))
    skopeo('copy', `docker-archive:${join(dir, 'from.tar')}:one:1`, `oci:${join(dir, 'layout')}:one:1`)
    skopeo(
      'copy',
      `docker-archive:${join(dir, 'from.tar')}:example.org:5000/a/two:2`,
      `oci:${join(dir, 'layout')}:two`,
    )
    await using source = await openImageSource(join(dir, 'layout'), { spoolDir: dir })
    expect(source.images.map(({ names }) => names)).toEqual([['docker.io/library/one:1'], []])
  })
})

describe.skipIf(missing('hasUmoci', 'canChown'))('umoci', () => {
  it('unpacks our OCI archive', async () => {
    const dir = scratch()
    const layout = join(dir, 'layout')
    mkdirSync(layout)
    run('tar', '-xf', await save(join(dir, 'oci.tar'), 'oci', [one]), '-C', layout)
    run('umoci', 'unpack', '--image', `${layout}:latest`, join(dir, 'bundle'))
    const rootfs = join(dir, 'bundle', 'rootfs')
    expect(readFileSync(join(rootfs, 'one'), 'utf8')).toBe('1')
    expect(readdirSync(join(rootfs, 'etc'))).toEqual([])
  })

  it('repacks an image, and we read the layers of both', async () => {
    const dir = scratch()
    const layout = join(dir, 'layout')
    const annotations = (): Record<string, string> => ({ 'org.opencontainers.image.ref.name': 'one' })
    writeFiles(layout, ociFiles([{ ...one, names: ['one'] }], { annotations }))
    run('umoci', 'unpack', '--image', `${layout}:one`, join(dir, 'bundle'))
    writeFileSync(join(dir, 'bundle/rootfs/added'), 'added')
    run('umoci', 'repack', '--image', `${layout}:more`, join(dir, 'bundle'))
    await using source = await openImageSource(layout, { spoolDir: dir })
    const repacked = source.images.find((image) => image.layers.length === one.layers.length + 1)
    expect(source.images).toHaveLength(2)
    for (const layer of repacked!.layers) {
      const measured = new Measured(decompressed(layer.open(), 'layer'))
      await collect(measured)
      expect(measured.digest).toBe(layer.diffID)
    }
  })
})

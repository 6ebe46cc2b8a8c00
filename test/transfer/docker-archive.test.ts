import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Measured } from '../../lib/oci/digest.ts'
import { decompressed } from '../../lib/transfer/compression.ts'
import { openImageSource } from '../../lib/transfer/open.ts'
import type { ImageSource } from '../../lib/transfer/source.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { type Files, archive, buildImage, dockerFiles, sha256 } from '../helpers/image.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'docker-archive-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

const base = [{ name: 'base', body: 'B' }]
const image = buildImage({ layers: [base, [{ name: 'top', body: 'T' }]], names: ['a:1'] })
const hex = image.id.slice(7)

async function open(files: Files): Promise<ImageSource> {
  writeFileSync(join(dir, 'a.tar'), archive(files))
  return openImageSource(join(dir, 'a.tar'), { spoolDir: dir })
}

interface Entry {
  Config: string
  RepoTags: unknown
  Layers: string[]
}

/** A flat archive of the image with one thing changed. */
function changed(change: (files: Files, entry: Entry) => void): Files {
  const files = dockerFiles([image], { style: 'flat' })
  const [entry] = JSON.parse((files.get('manifest.json') as Buffer).toString()) as [Entry]
  change(files, entry)
  return files.set('manifest.json', Buffer.from(JSON.stringify([entry])))
}

describe('a docker archive', () => {
  it('is refused with what is wrong in it', async () => {
    const cases: readonly (readonly [string, (files: Files, entry: Entry) => void, string, string])[] = [
      ['no config', (files) => files.delete(`${hex}.json`), 'ERR_BAD_MANIFEST', `${hex}.json`],
      [
        'a config with another digest',
        (files) => files.set(`${hex}.json`, Buffer.from('{}')),
        'ERR_DIGEST_MISMATCH',
        hex,
      ],
      [
        'no layer',
        (files, entry) => files.delete(entry.Layers[1]!),
        'ERR_BAD_MANIFEST',
        image.layers[1]!.diffID.slice(7),
      ],
      ['a layer too few', (_files, entry) => entry.Layers.pop(), 'ERR_BAD_MANIFEST', '1 layers'],
      [
        'a layer too many',
        (_files, entry) => entry.Layers.push(entry.Layers[0]!),
        'ERR_BAD_MANIFEST',
        '3 layers',
      ],
      [
        'a layer outside',
        (_files, entry) => (entry.Layers[0] = '../../../../etc/passwd'),
        'ERR_BAD_MANIFEST',
        'etc/passwd',
      ],
      [
        'a config outside',
        (_files, entry) => (entry.Config = '/etc/passwd'),
        'ERR_BAD_MANIFEST',
        'etc/passwd',
      ],
      [
        'a tag that is none',
        (_files, entry) => (entry.RepoTags = ['Not A Tag']),
        'ERR_BAD_MANIFEST',
        'Not A Tag',
      ],
      ['a config that is a folder', (_files, entry) => (entry.Config = '.'), 'ERR_BAD_MANIFEST', '"."'],
      [
        'a config that is a layer',
        (_files, entry) => (entry.Config = entry.Layers[0]!),
        'ERR_BAD_MANIFEST',
        'not',
      ],
      [
        'a config that is too large',
        (files, entry) => files.set((entry.Config = 'c.json'), Buffer.alloc(2 ** 22 + 1, ' ')),
        'ERR_LIMIT_EXCEEDED',
        'c.json',
      ],
      [
        'a layer that is a link to nothing',
        (files, entry) => files.set((entry.Layers[0] = 'l.tar'), { link: '../../gone' }),
        'ERR_BAD_MANIFEST',
        'l.tar',
      ],
    ]
    for (const [what, change, code, words] of cases) {
      await expect(open(changed(change)), what).rejects.toMatchObject({
        code,
        message: expect.stringContaining(words) as string,
      })
    }
  })

  it.each([
    ['no image', '[]', 'ERR_BAD_MANIFEST'],
    ['half a manifest', '[{"Config"', 'ERR_BAD_MANIFEST'],
    ['an object', '{}', 'ERR_BAD_MANIFEST'],
    ['a huge manifest', ' '.repeat(2 ** 22 + 1), 'ERR_LIMIT_EXCEEDED'],
  ])('is refused with %s', async (_what, manifest, code) => {
    await expect(open(new Map([['manifest.json', Buffer.from(manifest)]]))).rejects.toMatchObject({ code })
  })

  it('shows layers in the wrong order by their digests', async () => {
    await using source = await open(changed((_files, entry) => entry.Layers.reverse()))
    const [layer] = source.images[0]!.layers
    const measured = new Measured(decompressed(layer!.open(), 'x'))
    await collect(measured)
    expect(measured.digest).toBe(image.layers[1]!.diffID)
    expect(layer!.diffID).toBe(image.layers[0]!.diffID)
  })

  it('checks the digest of a layer that is named by it', async () => {
    const files = dockerFiles([image], { style: 'blobs', gzipLayers: true })
    const [path] = [...files.keys()].filter((name) => name.startsWith('blobs/') && !name.endsWith(hex))
    files.set(path!, Buffer.from('something else'))
    await using source = await open(files)
    const layer = source.images[0]!.layers.find(({ digest }) => digest?.slice(7) === path!.slice(-64))
    await expect(collect(layer!.open())).rejects.toMatchObject({ code: 'ERR_DIGEST_MISMATCH' })
  })

  it('names layers by anything: what comes out must have the diffID', async () => {
    await using source = await open(
      changed((files, entry) => {
        for (const [i, layer] of image.layers.entries())
          files.set((entry.Layers[i] = `l${String(i)}`), layer.tar)
        files.set((entry.Config = 'config'), image.configBytes)
      }),
    )
    const [read] = source.images
    expect(sha256(await collect(read!.layers[1]!.open()))).toBe(image.layers[1]!.diffID)
    expect(read!.layers[1]!.digest).toBeUndefined()
    expect(read!.layers[1]!.size).toBe(image.layers[1]!.tar.length)
  })

  it('may have the same layer twice, by a link as docker 20.10 writes it', async () => {
    const twice = buildImage({ layers: [base, [{ name: 'x' }], base] })
    const files = dockerFiles([twice, image])
    expect([...files.values()].filter((file) => 'link' in file)).toHaveLength(2)
    await using source = await open(files)
    for (const [i, expected] of [twice, image].entries()) {
      const bodies = await Promise.all(source.images[i]!.layers.map((layer) => collect(layer.open())))
      expect(bodies.map(sha256)).toEqual(expected.layers.map((layer) => layer.diffID))
    }
  })

  it('may hold an image of no layers', async () => {
    await using source = await open(dockerFiles([buildImage({ layers: [] })]))
    expect(source.images[0]!.layers).toEqual([])
  })
})

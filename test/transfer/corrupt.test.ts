/** Archives with something changed in them: refused with a code that says so, or the images that they were. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CODES } from '../../lib/errors.ts'
import { Measured } from '../../lib/oci/digest.ts'
import { decompressed } from '../../lib/transfer/compression.ts'
import { openImageSource } from '../../lib/transfer/open.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import {
  buildImage,
  dockerArchive,
  dockerFiles,
  ociArchive,
  ociFiles,
  archive,
  sha256,
} from '../helpers/image.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'corrupt-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

const image = buildImage({
  layers: [[{ name: 'a', body: 'A'.repeat(300) }], [{ name: 'b', body: 'B' }]],
  names: ['a:1'],
})
const diffIDs = image.layers.map((layer) => layer.diffID)

/** What an archive is loaded as: its ids and diffIDs, all of them checked as the store does; or the error's code. */
async function outcome(bytes: Buffer): Promise<string> {
  const path = join(dir, 'a.tar')
  writeFileSync(path, bytes)
  try {
    await using source = await openImageSource(path, { spoolDir: dir })
    const ids: string[] = []
    for (const { configBytes, layers } of source.images) {
      for (const layer of layers) {
        const measured = new Measured(decompressed(layer.open(), 'layer'))
        await collect(measured)
        if (String(measured.digest) !== String(layer.diffID)) return 'ERR_DIGEST_MISMATCH'
      }
      ids.push(`${sha256(configBytes)} ${layers.map((layer) => layer.diffID).join(' ')}`)
    }
    return ids.join('\n')
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

const RIGHT = `${image.id} ${diffIDs.join(' ')}`

const kinds: readonly (readonly [string, Buffer])[] = [
  ['docker 20.10', dockerArchive([image])],
  ['docker 25', dockerArchive([image], { style: 'blobs' })],
  ['skopeo, gzipped layers', dockerArchive([image], { style: 'flat', gzipLayers: true })],
  ['OCI', ociArchive([image])],
  ['OCI, gzipped layers', ociArchive([image], { gzipLayers: true })],
]

describe.each(kinds)('an archive of %s', (_what, bytes) => {
  it('is the image that it is', async () => {
    expect(await outcome(bytes)).toBe(RIGHT)
  })

  it('with a byte changed is refused, or still the same image', async () => {
    const refused = new Set<string>()
    for (let at = 0; at < bytes.length - 1024; at += 37) {
      const changed = Buffer.from(bytes)
      changed.writeUInt8((changed[at] ?? 0) ^ (1 << (at % 8)), at)
      const result = await outcome(changed)
      if (result !== RIGHT) refused.add(result)
    }
    for (const code of refused) expect(Object.keys(CODES)).toContain(code)
    expect(refused.size).toBeGreaterThan(1)
  })

  it('with a block missing, or there twice, is refused or still the same image', async () => {
    for (let at = 0; at < bytes.length - 1024; at += 512) {
      const block = bytes.subarray(at, at + 512)
      for (const middle of [[], [block, block]]) {
        const result = await outcome(
          Buffer.concat([bytes.subarray(0, at), ...middle, bytes.subarray(at + 512)]),
        )
        expect([RIGHT, ...Object.keys(CODES)], `at ${String(at)}`).toContain(result)
      }
    }
  })

  it('gzipped, with a byte changed, is refused or still the same image', async () => {
    const gzipped = gzipSync(bytes)
    for (let at = 0; at < gzipped.length; at += 29) {
      const changed = Buffer.from(gzipped)
      changed.writeUInt8((changed[at] ?? 0) ^ 0x40, at)
      expect([RIGHT, ...Object.keys(CODES)], `at ${String(at)}`).toContain(await outcome(changed))
    }
  })
})

describe('the members of an archive', () => {
  it.each([
    ['docker', dockerFiles([image], { style: 'flat' })],
    ['OCI', ociFiles([image])],
  ])('may come in any order (%s)', async (_what, files) => {
    const orders = fc.sample(fc.shuffledSubarray([...files], { minLength: files.size }), {
      numRuns: 10,
      seed: 2,
    })
    for (const order of orders) expect(await outcome(archive(new Map(order)))).toBe(RIGHT)
  })

  it.each([
    ['docker', dockerFiles([image], { style: 'flat' })],
    ['OCI', ociFiles([image])],
  ])('must all be there (%s)', async (_what, files) => {
    for (const name of files.keys()) {
      const less = new Map([...files].filter(([other]) => other !== name))
      expect(await outcome(archive(less)), name).toBe('ERR_BAD_MANIFEST')
    }
  })

  it.each([
    ['docker', dockerFiles([image], { style: 'flat' })],
    ['OCI', ociFiles([image])],
  ])('may be there twice: the last counts (%s)', async (_what, files) => {
    const rubbish = new Map([...files.keys()].map((name) => [name, Buffer.from('rubbish')]))
    const twice = (first: typeof files, second: typeof files): Buffer =>
      Buffer.concat([archive(first).subarray(0, -1024), archive(second)])
    expect(await outcome(twice(rubbish, files))).toBe(RIGHT)
    expect(await outcome(twice(files, rubbish))).toBe('ERR_BAD_MANIFEST')
  })
})

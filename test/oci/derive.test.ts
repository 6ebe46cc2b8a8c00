import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../lib/oci/config.ts'
import { commitConfig, importConfig } from '../../lib/oci/derive.ts'
import { EMPTY_TAR_DIFF_ID, parseDiffID } from '../../lib/oci/digest.ts'
import { buildImage } from '../helpers/image.ts'

const created = new Date('2025-01-02T03:04:05.006Z')
const diffID = parseDiffID(`sha256:${'2'.repeat(64)}`)
const base = buildImage({
  layers: [[{ name: 'a' }]],
  config: { 'os.version': '5', variant: 'v1', docker_version: '20', container_config: { Cmd: ['old'] } },
})
const parent = parseConfig(base.configBytes)
const plain = (bytes: Buffer): unknown => JSON.parse(bytes.toString())

describe('commitConfig', () => {
  it('adds a layer and a step to the parent', () => {
    const bytes = commitConfig(parent, {
      diffID,
      created,
      config: { ...parent.config, User: 'me' },
      author: 'A',
      comment: 'C',
      container: 'f'.repeat(64),
    })
    expect(plain(bytes)).toEqual({
      architecture: parent.architecture,
      author: 'A',
      config: { Cmd: ['/bin/sh'], Env: ['PATH=/usr/bin:/bin'], User: 'me' },
      container: 'f'.repeat(64),
      created: '2025-01-02T03:04:05.006Z',
      history: [
        ...(parent.history ?? []),
        { created: '2025-01-02T03:04:05.006Z', created_by: '/bin/sh', author: 'A', comment: 'C' },
      ],
      os: 'linux',
      'os.version': '5',
      rootfs: { type: 'layers', diff_ids: [...parent.rootfs.diff_ids, diffID] },
      variant: 'v1',
    })
    expect(() => parseConfig(bytes)).not.toThrow()
  })

  it.each([undefined, EMPTY_TAR_DIFF_ID])('adds no layer when nothing changed (%s)', (nothing) => {
    const config = parseConfig(
      commitConfig(parent, { created, config: {}, ...(nothing && { diffID: nothing }) }),
    )
    expect(config.rootfs).toEqual(parent.rootfs)
    expect(config.history?.at(-1)).toMatchObject({ empty_layer: true })
    expect(config.history?.at(-1)).not.toHaveProperty('author')
  })

  it('gives the same bytes for the same commit, whatever order the parent has its fields in', () => {
    const reversed = Object.fromEntries(Object.entries(parent).reverse()) as typeof parent
    const facts = { diffID, created, config: {} }
    expect(commitConfig(reversed, facts)).toEqual(commitConfig(parent, facts))
  })
})

describe('importConfig', () => {
  it('makes an image of one layer for this machine', () => {
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7' }
    const bytes = importConfig({ diffID, created, config: { Cmd: ['x'] }, comment: 'from -', platform })
    expect(plain(bytes)).toEqual({
      architecture: 'arm',
      comment: 'from -',
      config: { Cmd: ['x'] },
      created: '2025-01-02T03:04:05.006Z',
      history: [{ created: '2025-01-02T03:04:05.006Z', comment: 'from -' }],
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [diffID] },
      variant: 'v7',
    })
  })

  it('makes an image of no layers from the archive of nothing', () => {
    const config = parseConfig(importConfig({ diffID: EMPTY_TAR_DIFF_ID, created, config: {} }))
    expect(config.rootfs.diff_ids).toEqual([])
    expect(config.history).toEqual([{ created: created.toISOString(), empty_layer: true }])
    expect(config.architecture).not.toBe('')
  })
})

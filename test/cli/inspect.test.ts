import { describe, expect, it, vi } from 'vitest'
import { OverlaidError } from '../../lib/errors.ts'
import { chunks, digest, run } from './support/host.ts'

const config = {
  created: '2026-01-01T00:00:00Z',
  architecture: 'amd64',
  os: 'linux',
  config: {
    Cmd: ['nginx'],
    Env: ['A=b'],
    Labels: { l: 'v' },
    ExposedPorts: { '80/tcp': {} },
    WorkingDir: '/w',
  },
  rootfs: { type: 'layers', diff_ids: [digest('1'), digest('2')] },
}
const chainIDs = [digest('1'), digest('3')]
const steps = [{ created: '', createdBy: 'CMD', comment: '', size: 0, empty: true }]
const list = async (): Promise<object[]> => [
  {
    chainID: digest('3'),
    diffID: digest('2'),
    parent: digest('1'),
    cacheID: 'e'.repeat(64),
    size: 20,
    images: 1,
  },
  { chainID: digest('1'), diffID: digest('1'), cacheID: 'f'.repeat(64), size: 100, images: 0 },
]
const chain = [
  { diffID: digest('1'), chainID: digest('1'), cacheID: 'f'.repeat(64), size: 100 },
  { diffID: digest('2'), chainID: digest('3'), cacheID: 'e'.repeat(64), size: 20 },
]
const details = {
  id: 'd'.repeat(64),
  name: 'web',
  image: 'nginx:1',
  imageID: digest('a'),
  owner: 'overlaid',
  mounted: true,
  path: '/m',
  size: 7,
  storageOptions: { size: '64M' },
  quota: { used: 5, limit: 64 },
  chainIDs: [...chainIDs].reverse(),
  config,
  lowerdir: ['/l2', '/l1'],
  upperdir: '/u',
  workdir: '/w',
  merged: '/m',
}

const reject =
  (code: 'ERR_CONTAINER_NOT_FOUND' | 'ERR_IMAGE_NOT_FOUND' | 'ERR_AMBIGUOUS_ID' | 'ERR_DAMAGED') =>
  async (): Promise<never> =>
    Promise.reject(new OverlaidError(code, code))

const image = {
  id: digest('a'),
  names: ['nginx:1'],
  config,
  diffIDs: [],
  chainIDs,
  configBytes: Buffer.alloc(0),
}
const images = { get: async () => image, history: async () => steps }
const noContainer = { get: reject('ERR_CONTAINER_NOT_FOUND') }
const noImage = { get: reject('ERR_IMAGE_NOT_FOUND') }

const facts = {
  author: null,
  architecture: 'amd64',
  os: 'linux',
  config: config.config,
  env: ['A=b'],
  labels: { l: 'v' },
}

describe('inspect', () => {
  it('shows an image: config, labels, env, history and chain, lowest layer first', async () => {
    const store = { containers: noContainer, images, layers: { list } }
    const { stdout } = await run(['inspect', 'nginx:1', '--json'], { store })
    expect(JSON.parse(stdout)).toEqual({
      type: 'image',
      id: digest('a'),
      names: ['nginx:1'],
      size: 120,
      created: '2026-01-01T00:00:00Z',
      ...facts,
      history: [{ created: null, createdBy: 'CMD', size: 0, empty: true, comment: '' }],
      layers: chain,
    })
  })

  it('shows a container: the same, and its folders', async () => {
    const store = { containers: { get: async () => ({ inspect: async () => details }) }, layers: { list } }
    const { stdout } = await run(['inspect', 'web', '--json'], { store })
    const { config: _config, chainIDs: _chainIDs, ...own } = details
    expect(JSON.parse(stdout)).toEqual({
      type: 'container',
      ...own,
      idMap: null,
      dead: false,
      created: null,
      ...facts,
      layers: chain,
    })
  })

  it('has empty lists and nulls for what an image does not say', async () => {
    const bare = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }
    const store = {
      containers: noContainer,
      images: { get: async () => ({ ...image, config: bare, chainIDs: [] }), history: async () => [] },
      layers: { list },
    }
    expect(JSON.parse((await run(['inspect', 'a', '--json'], { store })).stdout)).toMatchObject({
      created: null,
      config: {},
      env: [],
      labels: {},
      layers: [],
      size: 0,
    })
  })

  it('is indented JSON for people, that does not drive a terminal', async () => {
    const odd = { ...config, config: { Labels: { l: 'x\u001b\u009b' } } }
    const store = {
      containers: noContainer,
      images: { get: async () => ({ ...image, config: odd }), history: async () => [] },
      layers: { list },
    }
    const { stdout } = await run(['inspect', 'a'], { store })
    expect(stdout).toMatch(/^\{\n {2}"type": "image",\n/)
    expect(stdout).toContain(String.raw`"l": "x\u001b\x9b"`)
  })
})

describe('what a name means', () => {
  it('is a container before an image', async () => {
    const get = vi.fn(async () => image)
    const container = { export: () => chunks('container') }
    const store = {
      containers: { get: async () => container },
      images: { get, export: () => chunks('image') },
    }
    expect((await run(['export', 'web'], { store })).stdout).toBe('container')
    expect(get).not.toHaveBeenCalled()
  })

  it.each(['ERR_CONTAINER_NOT_FOUND', 'ERR_AMBIGUOUS_ID'] as const)('is an image after %s', async (code) => {
    const store = { containers: { get: reject(code) }, images: { ...images, export: () => chunks('image') } }
    expect((await run(['export', 'nginx:1'], { store })).stdout).toBe('image')
  })

  it.each([
    ['ERR_CONTAINER_NOT_FOUND', 3, 'overlaid: no such container or image: web\n'],
    ['ERR_AMBIGUOUS_ID', 2, 'overlaid: ERR_AMBIGUOUS_ID\n'],
  ] as const)('is nothing after %s and no image', async (code, status, stderr) => {
    const store = { containers: { get: reject(code) }, images: noImage }
    expect(await run(['inspect', 'web'], { store })).toMatchObject({ status, stderr, stdout: '' })
  })

  it('is not looked for further when the store is damaged there', async () => {
    const store = { containers: { get: reject('ERR_DAMAGED') }, images }
    expect(await run(['inspect', 'web'], { store })).toMatchObject({ status: 6 })
    const damagedImage = { containers: noContainer, images: { get: reject('ERR_DAMAGED') } }
    expect(await run(['inspect', 'web'], { store: damagedImage })).toMatchObject({ status: 6 })
  })
})

import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../lib/oci/config.ts'
import { historyOf } from '../../lib/oci/history.ts'
import { buildImage } from '../helpers/image.ts'

const diffID = `sha256:${'1'.repeat(64)}`
const rootfs = { type: 'layers', diff_ids: [diffID] }
const read = (config: unknown): ReturnType<typeof parseConfig> =>
  parseConfig(Buffer.from(typeof config === 'string' ? config : JSON.stringify(config)))

describe('parseConfig', () => {
  it('reads what docker writes', () => {
    const image = buildImage({ layers: [[{ name: 'a', body: 'x' }]] })
    const config = parseConfig(image.configBytes)
    expect(config).toEqual(image.config)
    expect(config.rootfs.diff_ids).toEqual([image.layers[0]?.diffID])
  })

  it('takes null for absent, in every field where docker writes it', () => {
    const fields = ['User', 'ExposedPorts', 'Env', 'Entrypoint', 'Cmd', 'Volumes', 'WorkingDir', 'Labels']
    const more = ['StopSignal', 'Healthcheck', 'Shell', 'OnBuild']
    const config = read({
      rootfs,
      config: Object.fromEntries([...fields, ...more].map((field) => [field, null])),
      history: null,
      created: null,
      author: null,
      variant: null,
      architecture: null,
      os: null,
    })
    expect(JSON.parse(JSON.stringify(config))).toEqual({ architecture: '', os: 'linux', config: {}, rootfs })
    expect(read({ rootfs, config: null }).config).toBeUndefined()
    expect(read({ rootfs: { type: 'layers', diff_ids: null } }).rootfs.diff_ids).toEqual([])
  })

  it('reads sets, labels and commands in the forms that old writers used', () => {
    const { config } = read({
      rootfs,
      config: {
        Cmd: '/bin/sh',
        ExposedPorts: { '80/tcp': null },
        Volumes: { '/v': {} },
        Labels: { a: null },
      },
    })
    expect(config).toEqual({
      Cmd: ['/bin/sh'],
      ExposedPorts: { '80/tcp': {} },
      Volumes: { '/v': {} },
      Labels: { a: '' },
    })
  })

  it('keeps fields that it does not know', () => {
    const config = read({ rootfs, 'os.version': '1', config: { Tty: true, New: { x: [1] } } })
    expect(config['os.version']).toBe('1')
    expect(config.config?.['New']).toEqual({ x: [1] })
  })

  it('is an image of no layers when rootfs lists none', () => {
    expect(read({ rootfs: { type: 'layers' } }).rootfs.diff_ids).toEqual([])
  })

  it('lets no key reach the prototype of an object', () => {
    const config = read(`{"rootfs":${JSON.stringify(rootfs)},"__proto__":{"author":"evil"},
      "config":{"__proto__":{"Cmd":["evil"]},"Labels":{"__proto__":"evil","ok":"1"}}}`)
    expect(config.author).toBeUndefined()
    expect(config.config?.Cmd).toBeUndefined()
    expect(config.config?.Labels).toEqual({ ok: '1' })
    expect(({} as { author?: string }).author).toBeUndefined()
  })

  it.each([
    ['no rootfs', {}, 'rootfs'],
    ['another kind of rootfs', { rootfs: { type: 'layers+base', diff_ids: [] } }, 'rootfs.type'],
    ['a diffID that is none', { rootfs: { type: 'layers', diff_ids: ['sha256:1'] } }, 'rootfs.diff_ids.0'],
    ['a diffID that is a path', { rootfs: { type: 'layers', diff_ids: ['../../x'] } }, 'rootfs.diff_ids.0'],
    ['a null diffID', { rootfs: { type: 'layers', diff_ids: [null] } }, 'rootfs.diff_ids.0'],
    ['diff_ids that are no list', { rootfs: { type: 'layers', diff_ids: diffID } }, 'rootfs.diff_ids'],
    ['an Env of numbers', { rootfs, config: { Env: [1] } }, 'config.Env.0'],
    ['a Cmd of a number', { rootfs, config: { Cmd: 1 } }, 'config.Cmd'],
    ['labels that are a list', { rootfs, config: { Labels: [['a', 'b']] } }, 'config.Labels'],
    ['a history of strings', { rootfs, history: ['x'] }, 'history.0'],
    ['a list', [], ''],
    ['null', 'null', ''],
    ['a string', '"x"', ''],
  ])('refuses %s, and says where', (_what, config, path) => {
    expect(() => read(config)).toThrowError(
      expect.objectContaining({
        code: 'ERR_BAD_MANIFEST',
        message: expect.stringContaining(`the image config: ${path}`) as string,
      }),
    )
  })

  it('refuses a history that makes more layers than there are', () => {
    const step = { created_by: 'x' }
    const empty = { ...step, empty_layer: true }
    expect(read({ rootfs, history: [step, empty, empty] }).history).toHaveLength(3)
    expect(read({ rootfs, history: [] }).history).toEqual([])
    expect(() => read({ rootfs, history: [step, empty, step] })).toThrowError(
      expect.objectContaining({
        code: 'ERR_BAD_MANIFEST',
        message: expect.stringContaining('2 layers') as string,
      }),
    )
  })
})

describe('historyOf', () => {
  it('lists the newest step first, sizes with the steps that made layers', () => {
    const config = read({
      rootfs: { type: 'layers', diff_ids: [diffID, diffID] },
      history: [
        { created: '2024-01-01T00:00:00Z', created_by: 'ADD' },
        { created_by: 'CMD', empty_layer: true, comment: 'c' },
        { created_by: 'RUN' },
      ],
    })
    expect(historyOf(config, [10, 20])).toEqual([
      { created: '', createdBy: 'RUN', size: 20, empty: false, comment: '' },
      { created: '', createdBy: 'CMD', size: 0, empty: true, comment: 'c' },
      { created: '2024-01-01T00:00:00Z', createdBy: 'ADD', size: 10, empty: false, comment: '' },
    ])
  })

  it('gives the layers that no step tells of a row of their own', () => {
    const rows = historyOf(read({ rootfs, history: [{ created_by: 'ADD' }] }), [1, 2, 4])
    expect(rows.map((row) => row.size)).toEqual([4, 2, 1])
    expect(historyOf(read({ rootfs }), [7])).toHaveLength(1)
  })
})

import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  buildkitReferences,
  dockerContainers,
  isDockerdRunning,
  scanDockerContainers,
} from '../../lib/store/docker.ts'
import { startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { rawTar } from '../helpers/rawtar.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'

const HEX_A = 'a'.repeat(64)
const HEX_B = '0123456789abcdef'.repeat(4)
const IMAGE = `sha256:${HEX_B}`

let temp: TempDir
let root: string

beforeEach(() => {
  temp = tempDir('docker')
  root = temp.path
})
afterEach(() => temp[Symbol.dispose]())

function put(path: string, content: string | Buffer): void {
  mkdirSync(join(root, path, '..'), { recursive: true })
  writeFileSync(join(root, path), content)
}

function putContainer(id: string, fields: object): void {
  put(`containers/${id}/config.v2.json`, JSON.stringify({ ID: id, Name: '/web', Image: IMAGE, ...fields }))
}

describe('dockerContainers', () => {
  it('reads the fields of config.v2.json, the name without its slash', async () => {
    const config = { Image: 'nginx:1', Cmd: ['nginx'] }
    putContainer(HEX_A, {
      Driver: 'overlay2',
      Created: '2024-05-06T07:08:09.1Z',
      State: { Running: true, Paused: true },
      Config: config,
    })
    put(`containers/${HEX_A}/hostconfig.json`, JSON.stringify({ StorageOpt: { size: '64M' }, Binds: null }))
    expect(await dockerContainers(root)).toEqual([
      {
        id: HEX_A,
        name: 'web',
        driver: 'overlay2',
        imageID: IMAGE,
        imageName: 'nginx:1',
        created: '2024-05-06T07:08:09.1Z',
        running: true,
        paused: true,
        config,
        storageOptions: { size: '64M' },
      },
    ])
  })

  it.each(['', '{', 'null', '{"StorageOpt":null}', '{"StorageOpt":{"size":5}}'])(
    'finds no storage options in a hostconfig.json of %j',
    async (text) => {
      putContainer(HEX_A, {})
      put(`containers/${HEX_A}/hostconfig.json`, text)
      expect((await dockerContainers(root))[0]?.storageOptions).toEqual({})
    },
  )

  it('names the image by its id, when the container was made from that', async () => {
    putContainer(HEX_A, {})
    const [container] = await dockerContainers(root)
    expect(container).toMatchObject({
      imageName: IMAGE,
      driver: '',
      running: false,
      paused: false,
      config: {},
    })
  })

  it('finds none on a root without containers, or with a folder that has no file yet', async () => {
    expect(await dockerContainers(root)).toEqual([])
    mkdirSync(join(root, 'containers', HEX_A), { recursive: true })
    put('containers/stray', '')
    expect(await scanDockerContainers(root)).toEqual({ containers: [], damaged: [] })
  })

  it.each([
    ['is empty', '', 'not JSON'],
    ['is cut off', `{"ID":"${HEX_B}","Na`, 'not JSON'],
    ['is not an object', 'null', 'its ID is undefined'],
    ['is another container’s', `{"ID":"${HEX_A}"}`, 'not the name of its folder'],
    ['has no name', `{"ID":"${HEX_B}"}`, 'no Name'],
    ['has a short image id', `{"ID":"${HEX_B}","Name":"/b","Image":"sha256:12"}`, 'not an image id'],
  ])('tells of a file that %s, and reads the others', async (_, text, detail) => {
    putContainer(HEX_A, {})
    put(`containers/${HEX_B}/config.v2.json`, text)
    const { containers, damaged } = await scanDockerContainers(root)
    expect(containers.map(({ id }) => id)).toEqual([HEX_A])
    expect(damaged).toEqual([
      {
        path: join(root, 'containers', HEX_B, 'config.v2.json'),
        detail: expect.stringContaining(detail) as string,
      },
    ])
  })
})

describe('buildkitReferences', () => {
  it('knows of nothing on a root without a build cache', async () => {
    const isUsed = await buildkitReferences(root)
    expect(isUsed(IMAGE)).toBe(false)
    expect(isUsed('7hzjcy6gktcp3onvnmqwpnop8')).toBe(false)
  })

  it('finds ids between other bytes, hex digits on either side included', async () => {
    put('buildkit/snapshots.db', Buffer.from(`\0\x01chainidsha256:${HEX_B}committed\xff`, 'latin1'))
    put('buildkit/containerdmeta.db', `c0ffee${HEX_A}beef`)
    put('buildkit/notes.txt', 'f'.repeat(64))
    const isUsed = await buildkitReferences(root)
    expect(isUsed(IMAGE)).toBe(true)
    expect(isUsed(HEX_A)).toBe(true)
    expect(isUsed(`${HEX_A}-init`)).toBe(true)
    expect(isUsed('f'.repeat(64))).toBe(false)
  })

  it('finds an id that lies across two pieces of a large file', async () => {
    const large = Buffer.alloc(3 * 1024 * 1024, '\0')
    large.write(HEX_A, 1024 * 1024 - 20)
    large.write(HEX_B, 2 * 1024 * 1024 - 1)
    put('buildkit/cache.db', large)
    const isUsed = await buildkitReferences(root)
    expect([isUsed(HEX_A), isUsed(HEX_B)]).toEqual([true, true])
  })

  it('takes every folder of BuildKit’s own kind for one in use', async () => {
    put('buildkit/cache.db', '')
    const isUsed = await buildkitReferences(root)
    expect(isUsed('7hzjcy6gktcp3onvnmqwpnop8')).toBe(true)
    expect(isUsed('7hzjcy6gktcp3onvnmqwpnop8-init')).toBe(true)
    expect(isUsed(HEX_A)).toBe(false)
  })
})

describe.skipIf(missing('hasBinding', 'hasPython'))('isDockerdRunning', () => {
  /** Holds flock(2) on a file in another process until disposed. */
  async function holdLock(path: string): Promise<AsyncDisposable> {
    const code =
      'import fcntl,sys; f=open(sys.argv[1]); fcntl.flock(f,fcntl.LOCK_EX); print(1,flush=True); sys.stdin.read()'
    const child = spawn('python3', ['-c', code, path], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    return {
      [Symbol.asyncDispose]: async () => {
        child.stdin.end()
        await once(child, 'exit')
      },
    }
  }

  it('says no on an empty root, and where the databases lie unlocked', async () => {
    expect(await isDockerdRunning(root)).toBe(false)
    put('volumes/metadata.db', '')
    put('buildkit/cache.db', '')
    expect(await isDockerdRunning(root)).toBe(false)
  })

  it.each(['volumes/metadata.db', 'buildkit/cache.db'])('says yes while %s is locked', async (path) => {
    put(path, '')
    {
      await using _ = await holdLock(join(root, path))
      expect(await isDockerdRunning(root)).toBe(true)
    }
    expect(await isDockerdRunning(root)).toBe(false)
  })
})

describe.skipIf(missing('hasBinding', 'canMount', 'hasDockerd', 'hasDocker'))('with a real dockerd', () => {
  it('notices it, and reads its containers', async () => {
    const dir = join(root, 'root')
    {
      await using dockerd = await startDockerd(dir, join(root, 'scratch'))
      dockerd.dockerWith(rawTar([{ name: 'etc/hello', body: Buffer.from('hi') }]), 'import', '-', 'one:1')
      const id = dockerd.docker('create', '--name', 'first', 'one:1', '/bin/true').trim()
      expect(await isDockerdRunning(dir)).toBe(true)
      const [container] = await dockerContainers(dir)
      expect(container).toMatchObject({
        id,
        name: 'first',
        driver: 'overlay2',
        imageName: 'one:1',
        running: false,
      })
    }
    expect(await isDockerdRunning(dir)).toBe(false)
  })
})

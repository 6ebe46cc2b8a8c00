/** What gc leaves alone: everything that somebody needs, whoever that is. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../lib/oci/config.ts'
import type { DiffID } from '../../lib/oci/digest.ts'
import type { ImageSource } from '../../lib/transfer/source.ts'
import { startChild } from '../helpers/child.ts'
import { newPatient, type Patient } from '../helpers/damage.ts'
import { missing } from '../helpers/gates.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { archiveOf, newStore, nginxImage, openStore, storeFolders } from '../helpers/store.ts'

watchLeaks(() => storeFolders.slice(-1))

const CLEAN = { ok: true, problems: [] }
const HEX = 'abcdef0123456789'.repeat(4)

function put(path: string, text: string | Buffer): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

/** Runs `code` in another process, which has the store open as `store`, until it says something. */
async function inChild({ root }: Pick<Patient, 'root'>, code: string) {
  const child = startChild(`const store = await Store.open(root, { durability: 'none' })\n${code}`, { root })
  return { child, said: await child.heard() }
}

const IDLE = 'await told()'

describe.skipIf(missing('canMount', 'hasBinding'))('gc leaves alone', () => {
  it('the mount of a living process, and undoes that of a dead one', async () => {
    const patient = await newPatient()
    const code = `const mount = await (await store.containers.get('web')).mount(); await say(mount.path); ${IDLE}`
    const { child, said } = await inChild(patient, code)
    expect(await patient.store.gc()).toEqual({ removed: [], bytes: 0 })
    expect(readFileSync(join(said as string, 'etc/motd'), 'utf8')).toBe('mine\n')
    await child.kill()
    expect(mountsBelow(patient.root)).toEqual([said])
    const { removed } = await patient.store.gc()
    expect(removed.map(({ kind }) => kind)).toEqual(['stale-hold'])
    expect(mountsBelow(patient.root)).toEqual([])
    expect(await patient.store.check()).toEqual(CLEAN)
  })

  it('a persistent mount of this boot, whose process is dead', async () => {
    const patient = await newPatient()
    const code = `const mount = await (await store.containers.get('web')).mount({ persist: true }); await say(mount.path); ${IDLE}`
    const { child, said } = await inChild(patient, code)
    await child.kill()
    expect(await patient.store.gc()).toEqual({ removed: [], bytes: 0 })
    expect(await patient.store.check()).toEqual(CLEAN)
    expect(mountsBelow(patient.root)).toEqual([said])
    await patient.store.unmount('web')
  })

  it("a dead process's mount that is busy, with all that it stands on", async () => {
    const patient = await newPatient()
    const target = join(patient.root, '../target')
    mkdirSync(target)
    const code = `await store.images.mount('python:3', { target }); await say(1); ${IDLE}`
    const { child } = await inChild(patient, `const target = ${JSON.stringify(target)}; ${code}`)
    await child.kill()
    const user = spawn('sh', ['-c', 'echo in; read line'], {
      cwd: target,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    await once(user.stdout, 'data')
    await patient.store.images.remove(['python:3'], { force: true }).catch(() => undefined)
    await patient.store.gc()
    expect(readFileSync(join(target, 'usr/python'), 'utf8')).toBe('python')
    user.stdin.end()
    await once(user, 'exit')
    await patient.store.gc()
    expect(mountsBelow(target)).toEqual([])
    expect(await patient.store.check()).toEqual(CLEAN)
    rmSync(target, { recursive: true })
  })

  it('an image that is mounted read-only, removed meanwhile', async () => {
    const patient = await newPatient()
    {
      await using mount = await patient.store.images.mount('python:3')
      await patient.store.images.remove(['python:3'], { force: true }).catch(() => undefined)
      await patient.store.gc()
      expect(readFileSync(join(mount.path ?? '', 'usr/python'), 'utf8')).toBe('python')
    }
    await patient.store.images.remove(['python:3']).catch(() => undefined)
    await patient.store.gc()
    expect(await patient.store.check()).toEqual(CLEAN)
  })

  it('what a load in progress has unpacked and registered', async () => {
    const store = await newStore()
    const image = nginxImage()
    const seen: string[][] = []
    const source: ImageSource = {
      images: [
        {
          names: ['docker.io/library/nginx:1'],
          configBytes: image.configBytes,
          config: parseConfig(image.configBytes, 'the config'),
          layers: image.layers.map(({ tar, diffID }) => ({
            diffID: diffID as DiffID,
            size: tar.length,
            async *open() {
              yield tar.subarray(0, 512)
              seen.push((await store.gc()).removed.map(({ kind }) => kind))
              yield tar.subarray(512)
              seen.push((await store.gc()).removed.map(({ kind }) => kind))
            },
          })),
        },
      ],
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
    await store.images.load(source)
    expect(seen).toEqual(Array(6).fill([]))
    expect(await store.check({ deep: true })).toEqual(CLEAN)
  })

  it("a container of dockerd's, and an entry of a stranger's", async () => {
    const patient = await newPatient()
    const { layerDB, container, own, store } = patient
    // Ours becomes dockerd's: the same entry, its record elsewhere.
    rmSync(join(own, 'containers', `${container}.json`))
    const config = { ID: container, Name: '/web', Image: `sha256:${patient.image}`, Driver: 'overlay2' }
    put(join(patient.root, 'containers', container, 'config.v2.json'), JSON.stringify(config))
    expect(await store.gc()).toEqual({ removed: [], bytes: 0 })
    expect(await store.check()).toEqual(CLEAN)
    // A stranger's: there is an entry and nothing more.
    renameSync(join(layerDB, 'mounts', container), join(layerDB, 'mounts/someone'))
    rmSync(join(patient.root, 'containers', container), { recursive: true })
    await store.images.remove(['nginx:1'])
    await store.gc()
    expect(await store.check()).toEqual(CLEAN)
    expect(existsSync(patient.folder(2))).toBe(true)
    expect(readFileSync(join(patient.home, patient.mountID, 'diff/etc/motd'), 'utf8')).toBe('mine\n')
  })

  it("what BuildKit's databases name, and its own folders", async () => {
    const patient = await newPatient()
    const { store, home, layerDB } = patient
    const buildkit = ['7hzjcy6gktcp3onvnmqwpnop8', HEX]
    for (const id of buildkit) put(join(home, id, 'diff/file'), 'x')
    put(join(home, '0'.repeat(64), 'diff/file'), 'x')
    const [python = ''] = readdirSync(join(layerDB, 'sha256')).filter((hex) => !patient.layers.includes(hex))
    put(join(patient.root, 'buildkit/snapshots.db'), `\0chainidsha256:${python}committed\0${HEX}`)
    await store.images.remove(['python:3'])
    // rmi leaves the layer too.
    expect(existsSync(join(layerDB, 'sha256', python))).toBe(true)
    await store.gc()
    expect(existsSync(join(layerDB, 'sha256', python))).toBe(true)
    expect(buildkit.filter((id) => existsSync(join(home, id, 'diff/file')))).toEqual(buildkit)
    expect(existsSync(join(home, '0'.repeat(64)))).toBe(false)
  })

  it("the folder that a lost record's container stands on", async () => {
    const patient = await newPatient()
    rmSync(patient.layer(2), { recursive: true })
    await patient.store.gc()
    expect(existsSync(patient.folder(2))).toBe(true)
    const container = await patient.store.containers.get('web')
    await using mount = await container.mount()
    expect(readFileSync(join(mount.path ?? '', 'srv/nginx'), 'utf8')).toBe('nginx')
  })

  it('everything, while a dockerd runs', async () => {
    const patient = await newPatient()
    put(join(patient.home, HEX, 'diff/file'), 'x')
    const database = join(patient.root, 'volumes/metadata.db')
    put(database, '')
    const holder = spawn('flock', [database, 'sh', '-c', 'echo locked; read line'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    await once(holder.stdout, 'data')
    await expect(patient.store.gc()).rejects.toMatchObject({ code: 'ERR_STORE_LOCKED' })
    await expect(patient.store.check({ repair: true })).rejects.toMatchObject({ code: 'ERR_STORE_LOCKED' })
    expect((await patient.store.gc({ dryRun: true })).removed).toHaveLength(1)
    expect((await patient.store.check()).problems).toHaveLength(1)
    holder.stdin.end()
    await once(holder, 'exit')
    expect((await patient.store.gc()).removed).toHaveLength(1)
  })

  it('a mount in another mount namespace', async () => {
    const patient = await newPatient()
    const script = `mount --make-rprivate / && exec ${process.execPath} --input-type=module -e "$CODE"`
    const code = `
      const { Store } = await import(process.env.DIST + '/index.js')
      const store = await Store.open(process.env.STORE, { durability: 'none' })
      const mount = await (await store.containers.get('web')).mount()
      console.log('mounted')
      process.stdin.on('data', async () => {
        const { readFileSync } = await import('node:fs')
        console.log(readFileSync(mount.path + '/etc/motd', 'utf8').trim())
        await store.close()
        process.exit(0)
      })`
    const dist = process.env['OVERLAID_DIST'] ?? join(import.meta.dirname, '../../dist')
    const env = { ...process.env, CODE: code, DIST: dist, STORE: patient.root }
    const child = spawn('unshare', ['-m', 'sh', '-c', script], { env, stdio: ['pipe', 'pipe', 'inherit'] })
    expect(String(await once(child.stdout, 'data'))).toContain('mounted')
    expect(mountsBelow(patient.root)).toEqual([])
    expect(await patient.store.gc()).toEqual({ removed: [], bytes: 0 })
    child.stdin.write('\n')
    expect(String(await once(child.stdout, 'data'))).toContain('mine')
    await once(child, 'exit')
    await patient.store.gc()
    expect(await patient.store.check()).toEqual(CLEAN)
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('check and gc on large and odd roots', () => {
  it('wait for whoever has the store lock, unless aborted', async () => {
    const patient = await newPatient()
    const lock = join(patient.own, 'lock')
    // OFD locks and lockf's are of one kind: fcntl's.
    const code =
      'import fcntl,sys; f=open(sys.argv[1],"r+"); fcntl.lockf(f,fcntl.LOCK_EX); print(1,flush=True); sys.stdin.read()'
    const holder = spawn('python3', ['-c', code, lock], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    const reason = new Error('enough')
    const stop = new AbortController()
    const checking = patient.store.check({ signal: stop.signal })
    const collecting = patient.store.gc({ signal: stop.signal })
    stop.abort(reason)
    await expect(checking).rejects.toBe(reason)
    await expect(collecting).rejects.toBe(reason)
    const waiting = patient.store.check()
    holder.stdin.end()
    expect(await waiting).toEqual(CLEAN)
  })

  it('empty one trash together', async () => {
    const patient = await newPatient()
    for (let i = 0; i < 300; i++) put(join(patient.home, 'trash/one', String(i % 20), 'deep', String(i)), 'x')
    await using other = await openStore(patient.root)
    await Promise.all([patient.store.gc(), other.gc(), patient.store.gc(), other.gc()])
    expect(await patient.store.check()).toEqual(CLEAN)
  })

  it('read what a real dockerd wrote and left', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    // The parts that dockerd makes beside ours.
    for (const path of [
      'network/files',
      'plugins/storage',
      'runtimes',
      'swarm',
      'tmp',
      'trust',
      'buildkit/content',
    ]) {
      mkdirSync(join(store.root, path), { recursive: true })
    }
    execFileSync('mknod', [join(store.root, 'overlay2/backingFsBlockDev'), 'b', '7', '0'])
    expect(await store.check()).toEqual(CLEAN)
    expect(await store.gc()).toEqual({ removed: [], bytes: 0 })
  })
})

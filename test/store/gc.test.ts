/** Each kind of rubbish: named by check, which says that nothing is damaged, and removed by gc. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { newPatient, type Patient } from '../helpers/damage.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { openStore, storeFolders } from '../helpers/store.ts'

watchLeaks(() => storeFolders.slice(-1))

const HEX = '0123456789abcdef'.repeat(4)
const CONFIGS = 'image/overlay2/imagedb/content/sha256'

interface Case {
  readonly does: string
  readonly make: (patient: Patient) => void | Promise<void>
  /** Kinds that are found at first, sorted. */
  readonly kinds: readonly string[]
}

function put(path: string, text = ''): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

/** Removes the record of the image with this name, as if its removal had been cut off. Returns its top layer's hex. */
function forgetImage(p: Patient, name: string): string {
  const path = join(p.root, 'image/overlay2/repositories.json')
  const document = JSON.parse(readFileSync(path, 'utf8')) as {
    Repositories: Record<string, Record<string, string>>
  }
  const [repository = ''] = name.split(':')
  const id = document.Repositories[repository]?.[name] ?? ''
  delete document.Repositories[repository]
  writeFileSync(path, JSON.stringify(document))
  rmSync(join(p.root, CONFIGS, id.slice('sha256:'.length)))
  return readdirSync(join(p.layerDB, 'sha256')).find((hex) => !p.layers.includes(hex)) ?? ''
}

const CASES: readonly Case[] = [
  {
    does: 'a layer without an image',
    make: (p) => void forgetImage(p, 'python:3'),
    kinds: ['unused-layer'],
  },
  {
    does: 'a chain of layers without an image',
    make: async (p) => {
      forgetImage(p, 'python:3')
      await p.store.containers.remove('web')
      await p.store.gc()
      forgetImage(p, 'nginx:1')
    },
    kinds: ['unused-layer', 'unused-layer', 'unused-layer'],
  },
  {
    does: 'a layer without an image, whose record is damaged too',
    make: (p) => {
      const hex = forgetImage(p, 'python:3')
      for (const file of ['cache-id', 'size', 'parent']) rmSync(join(p.layerDB, 'sha256', hex, file))
    },
    // Its folder comes to light when the record is gone.
    kinds: ['orphan-layer', 'unused-layer'],
  },
  {
    does: 'a removal of a layer that was cut off',
    make: (p) => {
      const hex = forgetImage(p, 'python:3')
      const path = join(p.layerDB, 'sha256', hex)
      renameSync(path, `${path}-${HEX}-removing`)
    },
    kinds: ['stale-tombstone'],
  },
  {
    does: 'a tombstone without a cache-id',
    make: (p) => void mkdirSync(join(p.layerDB, 'sha256', `${HEX}-${HEX}-removing`)),
    kinds: ['stale-tombstone'],
  },
  {
    does: 'a record that was being written',
    make: (p) => put(join(p.layerDB, 'tmp/write-set-123456/diff'), 'sha256:'),
    kinds: ['stale-write-set'],
  },
  {
    does: 'a folder that no record names',
    make: (p) => put(join(p.home, HEX, 'diff/file'), 'content'),
    kinds: ['orphan-layer'],
  },
  {
    does: 'a name in l/ of no layer',
    make: (p) => symlinkSync(`../${HEX}/diff`, join(p.home, 'l', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')),
    kinds: ['dangling-l-entry'],
  },
  {
    does: 'a layer that was being unpacked',
    make: (p) => {
      put(join(p.home, 'staging/0123/lock'))
      put(join(p.home, 'staging/0123/layer/diff/file'))
    },
    kinds: ['stale-staging'],
  },
  {
    does: 'a layer that was being unpacked, not even locked',
    make: (p) => void mkdirSync(join(p.home, 'staging/4567')),
    kinds: ['stale-staging'],
  },
  { does: 'trash', make: (p) => put(join(p.home, 'trash/0123/diff/file'), 'x'), kinds: ['trash'] },
  { does: 'a probe', make: (p) => put(join(p.home, '.overlaid-probe-1/upper/x')), kinds: ['probe-folder'] },
  {
    does: 'a mount point',
    make: (p) => void mkdirSync(join(p.home, p.mountID, 'merged')),
    kinds: ['stale-merged'],
  },
  {
    does: 'a mount point with a stray file, as before 19.03',
    make: (p) => put(join(p.folder(1), 'merged/stray')),
    kinds: ['stale-merged'],
  },
  {
    does: 'a half-written lower',
    make: (p) => put(join(p.folder(1), '.tmp-lower123'), 'l/'),
    kinds: ['temp-file'],
  },
  {
    does: 'half-written files everywhere',
    make: (p) => {
      put(join(p.root, 'image/overlay2/.tmp-repositories.json12'))
      put(join(p.root, CONFIGS, `.tmp-${HEX}12`))
      put(p.layer(0, '.tmp-size12'))
      put(p.entry('.tmp-parent12'))
      put(join(p.own, '.tmp-version12'))
      put(join(p.own, `containers/.tmp-${p.container}.json12`))
    },
    kinds: Array<string>(6).fill('temp-file'),
  },
  {
    does: 'a lease of a dead process',
    make: (p) => {
      put(join(p.own, 'leases/0123.json'), JSON.stringify({ chainIDs: [], driverIDs: [] }))
      put(join(p.own, 'leases/.4567'))
    },
    kinds: ['stale-lease', 'stale-lease'],
  },
  {
    does: 'a hold from before the last boot',
    make: (p) => {
      const content = {
        pid: 1,
        bootID: 'another',
        kind: 'merged',
        persist: true,
        driverID: p.mountID,
        options: {},
      }
      const place = {
        namespace: 'mnt:[1]',
        path: join(p.home, p.mountID, 'merged'),
        mountID: '7',
        borrowed: false,
      }
      put(join(p.own, 'holds', p.container, '0123.json'), JSON.stringify({ ...content, ...place }))
    },
    kinds: ['stale-hold'],
  },
  {
    does: 'holds that say nothing, and a folder without any',
    make: (p) => {
      put(join(p.own, 'holds', p.container, '.0123'))
      mkdirSync(join(p.own, 'holds', `ro-${p.layers[2] ?? ''}`))
    },
    kinds: ['stale-hold', 'stale-hold'],
  },
  {
    does: 'locks of nobody',
    make: (p) => {
      put(join(p.own, 'locks', HEX))
      put(join(p.own, 'locks', `ro-${HEX}`))
    },
    kinds: ['stale-lock', 'stale-lock'],
  },
  {
    does: 'a mark of no layer',
    make: (p) => put(join(p.own, 'damaged', HEX), 'changed\n'),
    kinds: ['stale-mark'],
  },
  {
    does: 'a record of a container that is not there',
    make: (p) => put(join(p.own, 'containers', `${HEX}.json`), '{}'),
    kinds: ['stale-container-record'],
  },
  {
    does: 'an entry that says nothing, of nobody',
    make: (p) => void mkdirSync(join(p.layerDB, 'mounts', HEX)),
    kinds: ['empty-container-entry'],
  },
  {
    does: 'notes on an image that is gone',
    make: (p) => put(join(p.root, 'image/overlay2/imagedb/metadata/sha256', HEX, 'lastUpdated'), 'x'),
    kinds: ['stale-image-notes'],
  },
  {
    does: "broken entries of dockerd's pull cache beside good ones",
    make: (p) => {
      const cache = join(p.root, 'image/overlay2/distribution')
      put(join(cache, 'diffid-by-digest/sha256', HEX), 'sha256:12')
      put(join(cache, 'diffid-by-digest/sha256', 'f'.repeat(64)), `sha256:${HEX}`)
      put(join(cache, 'v2metadata-by-diffid/sha256', HEX), '{}')
      put(join(cache, 'v2metadata-by-diffid/sha256', 'f'.repeat(64)), '[]')
    },
    kinds: ['bad-cache-entry', 'bad-cache-entry'],
  },
  {
    does: 'a mount that a driver made for a dead process',
    make: async (p) => void (await openOverlay2(p.home, { durability: 'none' }).get(p.mountID)),
    kinds: ['stale-mount'],
  },
  {
    does: 'a mounted folder that no record names',
    make: async (p) => {
      const driver = openOverlay2(p.home, { durability: 'none' })
      await driver.createReadWrite(HEX, p.folders[2])
      await driver.get(HEX)
    },
    kinds: ['orphan-layer', 'stale-mount'],
  },
]

describe.skipIf(missing('canMount', 'hasBinding'))('gc', () => {
  it('removes nothing from a clean store', async () => {
    const { store } = await newPatient()
    expect(await store.gc()).toEqual({ removed: [], bytes: 0 })
  })

  it.each(CASES)('removes $does', async ({ make, kinds }) => {
    const patient = await newPatient()
    const { root, store } = patient
    await make(patient)
    const { ok, problems } = await store.check()
    expect(problems.filter(({ severity }) => severity === 'damage')).toEqual([])
    expect(ok).toBe(true)
    expect(problems.length).toBeGreaterThan(0)
    // Only told, by whoever may read.
    await using reader = await openStore(root, { readOnly: true })
    const planned = await reader.gc({ dryRun: true })
    expect(planned.removed.map(({ path }) => path).sort()).toEqual(problems.map(({ path }) => path).sort())
    expect((await store.check()).problems).toEqual(problems)
    // Repair is for damage.
    expect(await store.check({ repair: true })).toEqual({ ok, problems })

    const { removed, bytes } = await store.gc()
    expect(removed.map(({ kind }) => kind).sort()).toEqual([...kinds])
    expect(bytes).toBe(removed.reduce((sum, item) => sum + item.bytes, 0))
    for (const { path } of removed) expect(existsSync(path), path).toBe(false)
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
    expect(readdirSync(join(patient.home, 'trash'))).toEqual([])
    expect(readdirSync(join(patient.home, 'staging'))).toEqual([])
    expect(await store.gc()).toEqual({ removed: [], bytes: 0 })
  })

  it('says what goes with its bytes on disk', async () => {
    const patient = await newPatient()
    put(join(patient.home, HEX, 'diff/file'), 'x'.repeat(1_000_000))
    const { removed, bytes } = await patient.store.gc()
    expect(removed).toMatchObject([{ kind: 'orphan-layer', path: join(patient.home, HEX) }])
    expect(bytes).toBeGreaterThanOrEqual(1_000_000)
    expect(bytes).toBeLessThan(1_100_000)
  })

  it('counts a layer with its folder', async () => {
    const patient = await newPatient()
    forgetImage(patient, 'python:3')
    const { removed } = await patient.store.gc({ dryRun: true })
    // A record is one folder and five files.
    expect(removed[0]?.bytes).toBeGreaterThan(6 * 4096)
  })

  it('stops when it is aborted', async () => {
    const patient = await newPatient()
    put(join(patient.home, HEX, 'diff/file'))
    const reason = new Error('enough')
    await expect(patient.store.gc({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(existsSync(join(patient.home, HEX))).toBe(true)
  })
})

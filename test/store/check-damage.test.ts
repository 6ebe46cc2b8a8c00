/** Each kind of damage: done to a healthy store, named by check, mended by repair or by loading the image again. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { KINDS } from '../../lib/store/check-kinds.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { archiveOf, nginxImage, storeFolders } from '../helpers/store.ts'
import { newPatient, type Patient } from '../helpers/damage.ts'

watchLeaks(() => storeFolders.slice(-1))

interface Case {
  readonly does: string
  readonly damage: (patient: Patient) => void
  /** Kinds of damage that are found, sorted. */
  readonly kinds: readonly string[]
  readonly deep?: boolean
}

const overwrite = (path: string, text: string): void => writeFileSync(path, text)
const remove = (path: string): void => rmSync(path, { recursive: true })
const linkOf = (p: Patient, index: number): string =>
  join(p.home, 'l', readFileSync(p.folder(index, 'link'), 'utf8'))

/** What repair mends by itself, without loss. */
const MENDED: readonly Case[] = [
  {
    does: 'the size has a newline',
    damage: (p) => appendFileSync(p.layer(1, 'size'), '\n'),
    kinds: ['bad-layer-size'],
  },
  { does: 'the size is lost', damage: (p) => unlinkSync(p.layer(2, 'size')), kinds: ['bad-layer-size'] },
  {
    does: 'the size is words',
    damage: (p) => overwrite(p.layer(0, 'size'), 'big'),
    kinds: ['bad-layer-size'],
  },
  { does: 'the diffID is lost', damage: (p) => unlinkSync(p.layer(0, 'diff')), kinds: ['bad-layer-diff'] },
  {
    does: 'the diffID is empty, as after a power cut',
    damage: (p) => truncateSync(p.layer(2, 'diff')),
    kinds: ['bad-layer-diff'],
  },
  {
    does: 'the parent is lost',
    damage: (p) => unlinkSync(p.layer(2, 'parent')),
    kinds: ['bad-layer-parent'],
  },
  {
    does: 'the parent is empty',
    damage: (p) => truncateSync(p.layer(1, 'parent')),
    kinds: ['bad-layer-parent'],
  },
  {
    does: 'the parent is another layer',
    damage: (p) => overwrite(p.layer(2, 'parent'), `sha256:${p.layers[0] ?? ''}`),
    kinds: ['bad-layer-parent'],
  },
  {
    does: 'a base layer has a parent',
    damage: (p) => overwrite(p.layer(0, 'parent'), `sha256:${p.layers[1] ?? ''}`),
    kinds: ['bad-layer-parent'],
  },
  {
    does: 'the cache-id is lost',
    damage: (p) => unlinkSync(p.layer(2, 'cache-id')),
    kinds: ['bad-layer-cache-id'],
  },
  {
    does: 'the cache-id of a layer with children is empty',
    damage: (p) => truncateSync(p.layer(0, 'cache-id')),
    kinds: ['bad-layer-cache-id'],
  },
  { does: 'a link file is lost', damage: (p) => unlinkSync(p.folder(1, 'link')), kinds: ['missing-link'] },
  {
    does: 'a link file is empty, as after a power cut',
    damage: (p) => truncateSync(p.folder(0, 'link')),
    kinds: ['missing-link'],
  },
  { does: 'an entry of l/ is lost', damage: (p) => unlinkSync(linkOf(p, 0)), kinds: ['missing-l-entry'] },
  {
    does: 'all of l/ is lost',
    damage: (p) => remove(join(p.home, 'l')),
    kinds: Array(6).fill('missing-l-entry') as string[],
  },
  {
    does: 'an entry of l/ points to another layer',
    damage: (p) => {
      const entry = linkOf(p, 1)
      unlinkSync(entry)
      symlinkSync(`../${p.folders[0] ?? ''}/diff`, entry)
    },
    kinds: ['missing-l-entry'],
  },
  { does: 'a lower file is lost', damage: (p) => unlinkSync(p.folder(2, 'lower')), kinds: ['missing-lower'] },
  {
    does: 'a lower file is empty, as after a power cut',
    damage: (p) => truncateSync(p.folder(1, 'lower')),
    kinds: ['wrong-lower'],
  },
  {
    does: "a container's lower lacks a layer",
    damage: (p) => {
      const path = join(p.home, p.mountID, 'lower')
      overwrite(path, readFileSync(path, 'utf8').split(':').slice(0, 2).join(':'))
    },
    kinds: ['wrong-lower'],
  },
  {
    does: 'a work folder is lost',
    damage: (p) => remove(join(p.home, p.mountID, 'work')),
    kinds: ['missing-work'],
  },
  { does: 'the home is open', damage: (p) => chmodSync(p.home, 0o711), kinds: ['loose-mode'] },
  { does: 'a layer is open', damage: (p) => chmodSync(p.folder(0), 0o755), kinds: ['loose-mode'] },
  {
    does: 'imagedb is open',
    damage: (p) => chmodSync(join(p.root, 'image/overlay2'), 0o755),
    kinds: ['loose-mode'],
  },
  {
    does: 'root and home are open, as docker 20.10.8 left them',
    damage: (p) => [p.root, p.home].forEach((path) => chmodSync(path, 0o711)),
    kinds: ['loose-mode', 'loose-mode'],
  },
  {
    does: 'a name points to no image',
    damage: (p) => {
      const path = join(p.root, 'image/overlay2/repositories.json')
      const dangling = `"gone":{"gone:1":"sha256:${'0'.repeat(64)}"},`
      overwrite(path, readFileSync(path, 'utf8').replace('{"Repositories":{', `{"Repositories":{${dangling}`))
    },
    kinds: ['dangling-name'],
  },
  {
    does: 'the mount-id is lost',
    damage: (p) => unlinkSync(p.entry('mount-id')),
    kinds: ['bad-container-entry', 'unclaimed-folder'],
  },
  {
    does: 'the init-id is lost',
    damage: (p) => unlinkSync(p.entry('init-id')),
    kinds: ['bad-container-entry'],
  },
  {
    does: 'the init-id is empty',
    damage: (p) => truncateSync(p.entry('init-id')),
    kinds: ['bad-container-entry'],
  },
  {
    does: "the container's parent is lost",
    damage: (p) => unlinkSync(p.entry('parent')),
    kinds: ['bad-container-entry'],
  },
  {
    does: "the container's parent is half a digest",
    damage: (p) => overwrite(p.entry('parent'), 'sha256:0123'),
    kinds: ['bad-container-entry'],
  },
]

/** What only the image can bring back. */
const RELOADED: readonly Case[] = [
  {
    does: "a layer's record is gone",
    damage: (p) => remove(p.layer(2)),
    kinds: ['missing-container-layer', 'missing-image-layer'],
  },
  {
    does: "the base layer's record is gone",
    damage: (p) => remove(p.layer(0)),
    kinds: ['missing-image-layer', 'missing-image-layer', 'missing-parent-layer'],
  },
  { does: "a layer's folder is gone", damage: (p) => remove(p.folder(2)), kinds: ['missing-layer-folder'] },
  {
    does: "the base layer's folder is gone",
    damage: (p) => remove(p.folder(0)),
    kinds: ['missing-layer-folder'],
  },
  { does: "a layer's content is gone", damage: (p) => remove(p.folder(1, 'diff')), kinds: ['missing-diff'] },
  {
    does: 'tar-split is lost',
    damage: (p) => unlinkSync(p.layer(0, 'tar-split.json.gz')),
    kinds: ['bad-tar-split'],
  },
  {
    does: 'tar-split is empty',
    damage: (p) => truncateSync(p.layer(1, 'tar-split.json.gz')),
    kinds: ['bad-tar-split'],
  },
  {
    does: 'tar-split is cut off',
    damage: (p) => truncateSync(p.layer(0, 'tar-split.json.gz'), 60),
    kinds: ['changed-layer'],
    deep: true,
  },
  {
    does: 'a file was changed under a layer',
    damage: (p) => overwrite(p.folder(0, 'diff/etc/motd'), 'hacked!\n'),
    kinds: ['changed-layer'],
    deep: true,
  },
  {
    does: 'a file was removed under a layer',
    damage: (p) => unlinkSync(p.folder(0, 'diff/bin/sh')),
    kinds: ['changed-layer'],
    deep: true,
  },
  {
    does: 'the config was changed',
    damage: (p) => appendFileSync(join(p.root, 'image/overlay2/imagedb/content/sha256', p.image), ' '),
    kinds: ['changed-image-config'],
  },
  {
    does: 'the config is empty, as after a power cut',
    damage: (p) => truncateSync(join(p.root, 'image/overlay2/imagedb/content/sha256', p.image)),
    kinds: ['changed-image-config'],
  },
]

const damageOf = (report: { problems: readonly { severity: string; kind: string }[] }): string[] =>
  report.problems
    .filter(({ severity }) => severity === 'damage')
    .map(({ kind }) => kind)
    .sort()

/** What the container shows at etc/motd, through all its layers. */
async function motd(p: Patient): Promise<string> {
  const container = await p.store.containers.get('web')
  await using mount = await container.mount()
  expect(readFileSync(join(mount.path ?? '', 'bin/sh'), 'utf8')).toBe('#!shell')
  return readFileSync(join(mount.path ?? '', 'etc/motd'), 'utf8')
}

describe.skipIf(missing('canMount', 'hasBinding'))('damage', () => {
  it('is not in a healthy store', async () => {
    const { store } = await newPatient()
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
    expect(await store.check({ deep: true, repair: true })).toEqual({ ok: true, problems: [] })
  })

  it.each(MENDED)('$does: repair mends it', async ({ damage, kinds }) => {
    const patient = await newPatient()
    const { store } = patient
    damage(patient)
    const found = await store.check()
    expect(damageOf(found)).toEqual([...kinds])
    expect(found.ok).toBe(false)
    // Beside damage nothing of value is taken for rubbish.
    await store.gc()
    expect(damageOf(await store.check())).toEqual([...kinds])
    const repaired = await store.check({ repair: true })
    expect(repaired.problems.filter(({ severity }) => severity === 'damage')).toSatisfy(
      (problems: { repaired: boolean }[]) => problems.every((problem) => problem.repaired),
    )
    expect(repaired.ok).toBe(true)
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
    expect(await motd(patient)).toBe('mine\n')
  })

  it.each(RELOADED)('$does: loading the image mends it', async ({ damage, kinds, deep = false }) => {
    const patient = await newPatient()
    const { store } = patient
    damage(patient)
    expect(damageOf(await store.check({ deep }))).toEqual([...kinds])
    await store.gc()
    const repaired = await store.check({ deep, repair: true })
    expect(repaired.ok).toBe(false)
    expect(damageOf(repaired)).toEqual([...kinds])
    await store.images.load(archiveOf(nginxImage()))
    // Links that named what was replaced, and the copies that were.
    await store.gc()
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
    expect(await motd(patient)).toBe('mine\n')
    await collect(store.images.save(['nginx:1', 'python:3']))
  })

  it('names the file that was changed, and the image to load', async () => {
    const patient = await newPatient()
    overwrite(patient.folder(0, 'diff/etc/motd'), 'hacked!\n')
    const { problems } = await patient.store.check({ deep: true })
    expect(problems).toHaveLength(1)
    expect(problems[0]?.detail).toContain('etc/motd')
    expect(problems[0]?.detail).toContain('nginx:1')
  })

  it('leaves a changed layer as it is until a load replaces it, and the load only once', async () => {
    const patient = await newPatient()
    const { store } = patient
    overwrite(patient.folder(0, 'diff/etc/motd'), 'hacked!\n')
    expect(await store.images.loadAll(archiveOf(nginxImage()))).toMatchObject({ layers: { added: 0 } })
    await store.check({ deep: true, repair: true })
    expect(readFileSync(patient.folder(0, 'diff/etc/motd'), 'utf8')).toBe('hacked!\n')
    expect(await motd(patient)).toBe('mine\n')
    expect(await store.images.loadAll(archiveOf(nginxImage()))).toMatchObject({ layers: { added: 1 } })
    expect(await store.images.loadAll(archiveOf(nginxImage()))).toMatchObject({ layers: { added: 0 } })
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  })

  it('does not replace a layer under a mount', async () => {
    const patient = await newPatient()
    const { store } = patient
    overwrite(patient.folder(0, 'diff/etc/motd'), 'hacked!\n')
    await store.check({ deep: true, repair: true })
    {
      const container = await store.containers.get('web')
      await using mount = await container.mount()
      await expect(store.images.load(archiveOf(nginxImage()))).rejects.toMatchObject({ code: 'ERR_IN_USE' })
      expect(readFileSync(join(mount.path ?? '', 'bin/sh'), 'utf8')).toBe('#!shell')
    }
    await store.images.load(archiveOf(nginxImage()))
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('damage that nothing brings back', () => {
  it('a lost writable layer stays reported, until the container is removed', async () => {
    const patient = await newPatient()
    const { store } = patient
    remove(join(patient.home, patient.mountID))
    const report = await store.check({ repair: true })
    expect(damageOf(report)).toEqual(['missing-container-folder'])
    expect(report.ok).toBe(false)
    await store.containers.remove('web')
    await store.gc()
    expect(await store.check()).toEqual({ ok: true, problems: [] })
  })

  it('an entry that says nothing keeps the folder that may be its own', async () => {
    const patient = await newPatient()
    const { store } = patient
    for (const file of ['mount-id', 'init-id', 'parent']) rmSync(patient.entry(file))
    await store.gc()
    const kinds = damageOf(await store.check({ repair: true }))
    expect(kinds).toContain('bad-container-entry')
    expect(kinds).toContain('unclaimed-folder')
    expect(readFileSync(join(patient.home, patient.mountID, 'diff/etc/motd'), 'utf8')).toBe('mine\n')
  })

  it('an image whose config tells nothing keeps every layer', async () => {
    const patient = await newPatient()
    const { store } = patient
    await store.containers.remove('web')
    truncateSync(join(patient.root, 'image/overlay2/imagedb/content/sha256', patient.image))
    await store.gc()
    expect(existsSync(patient.layer(2))).toBe(true)
    expect(existsSync(patient.folder(2))).toBe(true)
  })

  it("a container's record stays reported, and its files stay", async () => {
    const patient = await newPatient()
    const { store } = patient
    truncateSync(join(patient.own, 'containers', `${patient.container}.json`), 20)
    await store.gc()
    expect(damageOf(await store.check({ repair: true }))).toEqual(['bad-container-record'])
    expect(readFileSync(join(patient.home, patient.mountID, 'diff/etc/motd'), 'utf8')).toBe('mine\n')
  })

  it("names what is wrong with dockerd's containers", async () => {
    const patient = await newPatient()
    const put = (id: string, text: string): void => {
      mkdirSync(join(patient.root, 'containers', id), { recursive: true })
      writeFileSync(join(patient.root, 'containers', id, 'config.v2.json'), text)
    }
    const [a, b, c] = ['a', 'b', 'c'].map((letter) => letter.repeat(64)) as [string, string, string]
    const image = `sha256:${patient.image}`
    put(a, '{"ID":')
    put(b, JSON.stringify({ ID: b, Name: '/b', Image: image, Driver: 'overlay2' }))
    put(c, JSON.stringify({ ID: c, Name: '/c', Image: image, Driver: 'btrfs' }))
    expect(damageOf(await patient.store.check())).toEqual(['bad-docker-container', 'missing-docker-layer'])
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('an unreadable repositories.json', () => {
  it.each([
    ['empty', () => ''],
    ['cut off', (text: string) => text.slice(0, text.indexOf('"python"') - 1)],
    ['not an object', (text: string) => JSON.stringify([text])],
  ])('that is %s is written anew with the names that are left', async (_, spoil) => {
    const patient = await newPatient()
    const { store } = patient
    const path = join(patient.root, 'image/overlay2/repositories.json')
    const text = spoil(readFileSync(path, 'utf8'))
    overwrite(path, text)
    expect(damageOf(await store.check())).toEqual(['bad-names'])
    const report = await store.check({ repair: true })
    expect(report).toMatchObject({ ok: true, problems: [{ kind: 'bad-names', repaired: true }] })
    expect(readFileSync(join(patient.own, 'repositories.json.damaged'), 'utf8')).toBe(text)
    const names = (await store.images.list()).flatMap((image) => image.names)
    expect(names.sort()).toEqual(text.includes('nginx:1":"') ? ['nginx:1'] : [])
    expect(await store.check()).toEqual({ ok: true, problems: [] })
  })
})

it('every kind says what it means and what mends it', () => {
  for (const [kind, { meaning, remedy, severity }] of Object.entries(KINDS)) {
    expect(meaning.length, kind).toBeGreaterThan(20)
    expect(remedy, kind).toMatch(severity === 'rubbish' ? /^gc / : /repair|load|remove|restore|mend|copy/)
  }
})

/** The packed tarball in an empty folder, installed as those do who let no script run. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { missing } from '../helpers/gates.ts'
import { addBlob, archive, buildImage, type Files, OCI, type TestImage, withIndex } from '../helpers/image.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'
import { zstdFrame } from '../helpers/zstd.ts'

const REPO = join(import.meta.dirname, '../..')
const PACKING = 900_000

let temp: TempDir
let project: string

function sh(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

beforeAll(() => {
  temp = tempDir('package')
  project = join(temp.path, 'project')
  mkdirSync(project)
  sh('npm', ['pack', '--silent', '--pack-destination', temp.path], REPO)
  const tarball = readdirSync(temp.path).find((name) => name.endsWith('.tgz')) ?? ''
  writeFileSync(join(project, 'package.json'), '{"private": true, "type": "module"}')
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
  sh('npm', ['install', ...quiet, join(temp.path, tarball)], project)
}, PACKING)
afterAll(() => temp[Symbol.dispose]())
watchLeaks(() => [temp.path])

/** One layer compressed in each way, as an OCI archive. */
function image(): { image: TestImage; tar: Buffer } {
  const built = buildImage({
    names: ['packed:1'],
    layers: ['plain', 'gzip', 'zstd'].map((name) => [{ name: `from-${name}`, body: `${name}\n` }]),
  })
  const [plain, gzip, zstd] = built.layers.map((layer) => layer.tar)
  const files: Files = new Map([['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')]])
  const layers = [
    addBlob(files, OCI.tar, plain ?? Buffer.alloc(0)),
    addBlob(files, OCI.gzip, gzipSync(gzip ?? '')),
    addBlob(files, OCI.zstd, zstdFrame(zstd ?? Buffer.alloc(0))),
  ]
  const config = addBlob(files, OCI.config, built.configBytes)
  const manifest = addBlob(files, OCI.manifest, { schemaVersion: 2, mediaType: OCI.manifest, config, layers })
  const named = { ...manifest, annotations: { 'io.containerd.image.name': 'docker.io/library/packed:1' } }
  return { image: built, tar: archive(withIndex(files, [named])) }
}

const PROGRAM = `
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Store } from 'overlaid'

const store = await Store.open(process.argv[2])
const image = await store.images.load(process.argv[3])
const container = await store.containers.create(image)
const mount = await container.mount()
const read = ['plain', 'gzip', 'zstd'].map((name) => readFileSync(join(mount.path, 'from-' + name), 'utf8').trim())
await mount.unmount()
await store.close()
console.log(JSON.stringify({ id: image.id, read }))
`

describe.skipIf(missing('canMount', 'hasBinding'))('the packed package', () => {
  it('brings its addon: nothing was built', () => {
    const installed = join(project, 'node_modules/overlaid')
    expect(readdirSync(installed).sort()).not.toContain('build')
    expect(readdirSync(join(installed, 'prebuilds'))).toEqual([`linux-${process.arch}`])
  })

  it('loads a plain, a gzip and a zstd layer, and mounts', () => {
    const { image: built, tar } = image()
    writeFileSync(join(temp.path, 'image.tar'), tar)
    writeFileSync(join(project, 'program.js'), PROGRAM)
    const output = sh(
      process.execPath,
      ['program.js', join(temp.path, 'root'), join(temp.path, 'image.tar')],
      project,
    )
    expect(JSON.parse(output)).toEqual({ id: built.id, read: ['plain', 'gzip', 'zstd'] })
  })

  it('has its command on the path of npx', () => {
    const listed = sh(
      'npx',
      ['--offline', 'overlaid', '--root', join(temp.path, 'root'), '--json', 'images'],
      project,
    )
    expect(JSON.parse(listed)).toMatchObject([{ names: ['packed:1'] }])
  })

  it('has types that a strict program compiles against', () => {
    writeFileSync(
      join(project, 'program.ts'),
      `import { Store, openDriver, type Change, type Driver } from 'overlaid'
import { driverSuite, type DriverFixture, type SuiteRunner } from 'overlaid/driver-suite'
import { describe, it } from 'node:test'
export const runner: SuiteRunner = { describe, it }
export const fixture = async (root: string): Promise<DriverFixture> => {
  const open = (): Promise<Driver> => openDriver('vfs', root, { durability: 'none' })
  return { driver: await open(), reopen: open, dispose: () => undefined }
}
export const suite = (): void => driverSuite(runner, { name: 'vfs', factory: () => fixture('/tmp/x') })
export const open: (root: string) => Promise<Store> = (root) => Store.open(root, { durability: 'none' })
export const show = (change: Change): string => change.kind + change.path.toString('latin1')
`,
    )
    const tsc = join(REPO, 'node_modules/typescript/bin/tsc')
    const types = ['--typeRoots', join(REPO, 'node_modules/@types'), '--types', 'node']
    const flags = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--lib',
      'es2023,esnext.disposable',
    ]
    expect(sh(process.execPath, [tsc, ...flags, ...types, 'program.ts'], project)).toBe('')
  })
})

/** The example of the documentation, with its folders in `place`. */
function suiteExample(place: string): string {
  const page = readFileSync(join(REPO, 'docs/driver-suite.md'), 'utf8')
  const block = /```js\n(.*?)```/s.exec(page)?.[1] ?? ''
  expect(block).toContain("'/var/tmp/mine-'")
  return block.replace("'/var/tmp/mine-'", JSON.stringify(join(place, 'mine-')))
}

/** The driver of the example: vfs, but for what it says or does of `otherwise`. */
function mine(otherwise: string): string {
  return `
import { openDriver } from 'overlaid'

export async function openMine(root) {
  const driver = await openDriver('vfs', root, { durability: 'none' })
  return Object.assign(driver, ${otherwise})
}
`
}

describe.skipIf(missing('canMount', 'hasBinding'))('the driver suite of the packed package', () => {
  /** By node's own runner, on a tmpfs: how many cases it counts by what became of them, and what it said. */
  const run = (
    otherwise: string,
  ): { counts: Record<string, number>; output: string; status: number | null } => {
    using fs = loopFileSystem('tmpfs')
    writeFileSync(join(project, 'mine.mjs'), mine(otherwise))
    writeFileSync(join(project, 'mine.test.mjs'), suiteExample(fs.dir))
    // Of the runner that this test is in, whose variables tell node's to speak to it.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => name !== 'NODE_TEST_CONTEXT'),
    )
    const args = ['--test', '--test-reporter=tap', 'mine.test.mjs']
    const { stdout, status } = spawnSync(process.execPath, args, { cwd: project, encoding: 'utf8', env })
    const counts = Object.fromEntries(
      [...stdout.matchAll(/^# (tests|pass|fail|skipped) (\d+)$/gm)].map(([, name = '', n]) => [
        name,
        Number(n),
      ]),
    )
    return { counts, output: stdout, status }
  }

  it('passes on a driver that is right, and tells what it skips', () => {
    const { counts, output, status } = run('{}')
    expect(counts).toMatchObject({ fail: 0, skipped: 1 })
    expect(counts['pass']).toBeGreaterThan(110)
    expect(output).toMatch(
      /ok \d+ - mounts a layer with children read-only \(skipped: no support of readOnlyParents\)/,
    )
    expect(status).toBe(0)
  })

  it.each([
    ['lists no changes', '{ async *changes() {} }', 'lists what was added, changed and deleted'],
    ['does not unmount', '{ async put() {} }', 'gives one place until the last put'],
    ['forgets its parents', '{ async parent() {} }', 'tells the parent'],
  ])('fails on one that %s', (_, otherwise, title) => {
    const { counts, output, status } = run(otherwise)
    expect(counts['fail']).toBeGreaterThan(0)
    expect(counts['pass']).toBeGreaterThan(0)
    expect(output).toMatch(new RegExp(`not ok \\d+ - ${title}`))
    expect(status).toBe(1)
  })
})

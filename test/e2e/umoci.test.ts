/** The merged view against umoci, which unpacks an image's layers one over the other: two ways to one tree. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { DEBIAN_NAME, debianImage } from '../fixtures/images/debian.mjs'
import { LAYERING, type LayeringCase } from '../fixtures/images/layering.ts'
import { missing } from '../helpers/gates.ts'
import { archive, buildImage, dockerArchive, type Files, ociFiles, writeFiles } from '../helpers/image.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'
import { type DumpOptions, dumpTree } from '../../lib/driver-suite/tree.ts'
import { overlaid } from './support/command.ts'

function scratch(): TempDir {
  const dir = tempDir('umoci')
  onTestFinished(() => {
    for (const mount of mountsBelow(dir.path).reverse()) execFileSync('umount', [mount])
    dir[Symbol.dispose]()
  })
  return dir
}

/** Loads an archive with the command, mounts the image read-only at a folder of ours, dumps it, unmounts. */
async function mergedView(dir: string, file: string, name: string, options?: DumpOptions): Promise<string[]> {
  const target = join(dir, 'merged')
  mkdirSync(target)
  const run = async (...argv: string[]): Promise<void> => {
    const { status, stderr } = await overlaid(join(dir, 'root'), argv)
    expect(stderr).toBe('')
    expect(status).toBe(0)
  }
  await run('--quiet', 'load', '-i', file)
  await run('mount', '--read-only', '--target', target, name)
  const lines = await dumpTree(target, options)
  await run('unmount', target)
  return lines
}

/** Unpacks an image layout with umoci and dumps the root file system. */
async function umociView(dir: string, layout: string, tag: string, options?: DumpOptions): Promise<string[]> {
  const bundle = join(dir, 'bundle')
  execFileSync('umoci', ['unpack', '--image', `${layout}:${tag}`, bundle], { stdio: 'pipe' })
  return dumpTree(join(bundle, 'rootfs'), options)
}

/** The lines that only one side has. */
function differences(
  ours: readonly string[],
  umoci: readonly string[],
  ignored: readonly string[] = [],
): string[] {
  const only = (a: readonly string[], b: readonly string[], sign: string): string[] => {
    const there = new Set(b)
    return a.filter((line) => !there.has(line)).map((line) => `${sign}: ${line}`)
  }
  return [...only(ours, umoci, 'overlaid'), ...only(umoci, ours, 'umoci')].filter(
    (line) => !ignored.includes(line.split(' ')[1] ?? ''),
  )
}

/** What is not compared: what umoci gets wrong, and the root where no layer has an entry for it. */
function ignoredIn({ layers, umociWrong }: LayeringCase): string[] {
  const namesRoot = layers.flat().some((spec) => !Buffer.isBuffer(spec) && spec.name === './')
  return [...(namesRoot ? [] : ['.']), ...(umociWrong === undefined ? [] : [umociWrong.path])]
}

describe.skipIf(missing('canMount', 'hasUmoci', 'hasSkopeo', 'hasMmdebstrap'))('a real Debian image', () => {
  it('is merged as umoci unpacks it: type, mode, owner, time, size, content, attributes, links', async () => {
    const dir = scratch().path
    const file = await debianImage()
    execFileSync('skopeo', ['copy', '-q', `docker-archive:${file}`, `oci:${join(dir, 'layout')}:test`])
    const ours = await mergedView(dir, file, DEBIAN_NAME)
    const umoci = await umociView(dir, join(dir, 'layout'), 'test')
    expect(ours.length).toBeGreaterThan(6500)
    expect(differences(ours.map(withoutEmptyXattr), umoci)).toEqual([])
  })
})

describe.skipIf(missing('canMount', 'hasUmoci')).each([
  { form: 'docker-archive', pack: (image: ReturnType<typeof buildImage>) => dockerArchive([image]) },
  { form: 'OCI archive', pack: (image: ReturnType<typeof buildImage>) => archive(ociFiles([image])) },
])('layers on layers, from a $form', ({ pack }) => {
  it.each(LAYERING)('$name', async (testCase: LayeringCase) => {
    const dir = scratch().path
    const image = buildImage({ layers: testCase.layers, names: ['case:latest'] })
    const layout: Files = ociFiles([image])
    writeFiles(join(dir, 'layout'), layout)
    writeFiles(dir, new Map([['image.tar', pack(image)]]))
    const ours = await mergedView(dir, join(dir, 'image.tar'), 'case:latest')
    const withoutTimes = ours.map((line) => line.replace(/^(\S+ \S+ \S+ \S+) \d+\.\d+/, '$1'))
    for (const shown of testCase.shows) {
      expect(
        withoutTimes.filter((line) => line === shown || line.startsWith(`${shown} `)),
        shown,
      ).toHaveLength(1)
    }
    const paths = ours.map((line) => line.split(' ')[0])
    for (const hidden of testCase.hides ?? []) expect(paths).not.toContain(hidden)
    const umoci = await umociView(dir, join(dir, 'layout'), 'latest')
    expect(differences(ours, umoci, ignoredIn(testCase))).toEqual([])
  })
})

/**
 * umoci reads with Go's archive/tar, which takes a PAX record without a value for a deleted one. The image
 * specification (layer.md, "File Attributes") lists "Extended Attributes" among what a layer carries, empty or not.
 */
function withoutEmptyXattr(line: string): string {
  return line.replace(' user.empty=', '')
}

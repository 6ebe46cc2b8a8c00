/**
 * Random stacks of layers: what overlayfs shows of ours is what umoci unpacks, entry by entry. Stacks that either
 * refuses are not compared; whoever refuses does so with a documented error. FUZZ_SEED repeats a run.
 *
 * Nor are those that umoci unpacks differently when a layer's entries come in another order: it follows symlinks as
 * they are at that moment (`a/x`, then `a/`, over a symlink `a` below), ours are what the whole layer says.
 *
 * Left out of the comparison: the times of folders, since umoci forgets to put them back where it makes a folder
 * that nothing gives, and gives that the time it has now; and link counts, since a file that is copied up leaves its
 * other names below behind, as it does in the kernel. overlay2-settle.test.ts has both.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasCode } from '../../lib/errors.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage, ociFiles, writeFiles } from '../helpers/image.ts'
import { LayerLab } from '../helpers/layers.ts'
import type { MemberSpec } from '../helpers/rawtar.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31)
const runs = Math.ceil(Number(process.env['FUZZ_RUNS'] ?? 3000) / 30)
process.stderr.write(`fuzz: FUZZ_SEED=${String(seed)}, ${String(runs)} stacks\n`)

/** Folders and leaves have names of their own, mostly: clashes are refused more often than not. */
const folder = fc.constantFrom('a', 'b', 'c')
const leaf = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('x', 'y', 'z') },
  { weight: 1, arbitrary: folder },
)
const folders = fc.array(folder, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const path = fc
  .tuple(fc.array(folder, { maxLength: 2 }), leaf)
  .map(([parts, last]) => [...parts, last].join('/'))
const linkPath = fc.oneof({ weight: 1, arbitrary: folders }, { weight: 3, arbitrary: path })
const owner = {
  uid: fc.nat({ max: 3 }),
  gid: fc.nat({ max: 3 }),
  mtime: fc.integer({ min: 1, max: 1_700_000_000 }),
}

const given: fc.Arbitrary<MemberSpec> = fc.oneof(
  fc.record({ name: folders.map((p) => `${p}/`), mode: fc.constantFrom(0o700, 0o755, 0o1777), ...owner }),
  fc.record({
    name: path,
    body: fc.string({ maxLength: 5 }),
    mode: fc.constantFrom(0o600, 0o4755),
    ...owner,
  }),
  fc.record({ name: path, body: fc.constant('x'), ...owner }),
  fc.record({
    name: folders,
    type: fc.constant('symlink' as const),
    linkname: fc.tuple(fc.constantFrom('', '/', '../'), folders).map(([up, to]) => up + to),
    mode: fc.constant(0o777),
    ...owner,
  }),
  fc.record({ name: path, type: fc.constant('hardlink' as const), linkname: path }),
  fc.record({ name: path, type: fc.constant('fifo' as const), ...owner }),
)
const gone: fc.Arbitrary<MemberSpec> = fc.oneof(
  linkPath.map((p) => ({ name: p.replace(/([^/]*)$/, '.wh.$1') })),
  folders.map((p) => ({ name: `${p}/.wh..wh..opq` })),
)
/** Whiteouts first, as the specification wants them, and symlinks before what goes through them: umoci minds it. */
const layer = fc
  .tuple(fc.array(gone, { maxLength: 2 }), fc.array(given, { minLength: 1, maxLength: 6 }))
  .map(([first, rest]) => {
    const isLink = ({ type }: MemberSpec): boolean => type === 'symlink'
    return unique([...first, ...rest.filter(isLink), ...rest.filter((m) => !isLink(m))])
  })
const ROOT: MemberSpec = { name: './', mode: 0o755 }
const stack = fc.array(layer, { minLength: 1, maxLength: 4 }).map(linked)

/**
 * Gives every layer its root, and hard links a target that some layer so far has, though perhaps not any more. One
 * that the same layer gives later is left out: to umoci that is the file below of the same name.
 */
function linked(layers: readonly (readonly MemberSpec[])[]): MemberSpec[][] {
  const files: string[] = []
  return layers.map((members) => {
    const kept = members.flatMap((m, at): MemberSpec[] => {
      if (m.type === undefined && !/\/$|\.wh\./.test(String(m.name))) files.push(String(m.name))
      if (m.type !== 'hardlink') return [m]
      const target = files[String(m.linkname).length % Math.max(1, files.length)]
      const isLater = members.slice(at).some(({ name: later }) => later === target)
      return target === undefined || isLater ? [] : [{ ...m, linkname: target }]
    })
    return [ROOT, ...kept]
  })
}

/** No path twice, and none below a path that the same layer gives as anything but a folder. */
function unique(members: readonly MemberSpec[]): MemberSpec[] {
  const names = members.map((m) => String(m.name))
  const leaves = names.filter((path) => !path.endsWith('/'))
  const seen = new Set<string>()
  return members.filter((_, i) => {
    const key = (names[i] ?? '').replace(/\/$/, '')
    const isBelowLeaf = leaves.some((path) => key.startsWith(`${path}/`))
    return !isBelowLeaf && !seen.has(key) && seen.add(key)
  })
}

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'hasUmoci'))('a stack of layers', () => {
  let lab: LayerLab
  beforeAll(() => {
    lab = new LayerLab()
  })
  afterAll(() => {
    lab[Symbol.dispose]()
  })

  it('is to the kernel what it is to umoci', async () => {
    const outcome = { same: 0, refused: 0, umociFailed: 0, byOrder: 0 }
    await fc.assert(
      fc.asyncProperty(stack, async (layers) => {
        const ours = await orRefusal(lab.merged(layers, { nlink: false, nanoseconds: false }))
        const theirs = await umoci(lab, layers)
        if (ours === undefined) outcome.refused++
        else if (theirs === undefined) outcome.umociFailed++
        else if (isSame(ours.lines, theirs)) outcome.same++
        else if (await dependsOnOrder(lab, layers, theirs)) outcome.byOrder++
        else expect(comparable(ours.lines)).toEqual(comparable(theirs))
      }),
      { seed, numRuns: runs },
    )
    process.stderr.write(`fuzz: ${JSON.stringify(outcome)}\n`)
    expect(outcome.same).toBeGreaterThan(runs / 4)
    expect(outcome.byOrder).toBeLessThan(runs / 10)
  })
})

async function orRefusal<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (!hasCode(error, 'ERR_BAD_TAR')) throw error
    return undefined
  }
}

/** The tree that umoci unpacks, undefined when it fails. */
async function umoci(
  lab: LayerLab,
  layers: readonly (readonly MemberSpec[])[],
): Promise<string[] | undefined> {
  const dir = lab.dir()
  const layout = join(dir, 'layout')
  mkdirSync(layout)
  writeFiles(layout, ociFiles([buildImage({ layers, names: ['x:latest'] })]))
  try {
    execFileSync('umoci', ['unpack', '--image', `${layout}:latest`, join(dir, 'bundle')], { stdio: 'pipe' })
    return await dumpTree(join(dir, 'bundle/rootfs'), { nlink: false, nanoseconds: false })
  } catch (error) {
    if ((error as { status?: number }).status === undefined) throw error
    return undefined
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Whether umoci makes something else of the same entries: parents or children first, and these either way round. */
async function dependsOnOrder(
  lab: LayerLab,
  layers: readonly (readonly MemberSpec[])[],
  asGiven: readonly string[],
): Promise<boolean> {
  const depth = ({ name }: MemberSpec): number => String(name).replace(/\/$/, '').split('/').length
  for (const order of [layers, layers.map((members) => [...members].reverse())]) {
    for (const sign of [1, -1]) {
      const sorted = order.map((members) => [...members].sort((a, b) => sign * (depth(a) - depth(b))))
      const other = await umoci(lab, sorted)
      if (other === undefined || !isSame(asGiven, other)) return true
    }
  }
  return false
}

function isSame(ours: readonly string[], theirs: readonly string[]): boolean {
  return isDeepStrictEqual(comparable(ours), comparable(theirs))
}

/** Lines without the times of folders. */
function comparable(lines: readonly string[]): string[] {
  return lines.map((line) => line.replace(/^(\S+ dir \d+ \S+) \d+/, '$1'))
}

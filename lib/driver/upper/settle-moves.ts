/**
 * Folders that a layer only implies where a symlink is below: `bin/foo` over `bin -> usr/bin`. A folder in the upper
 * would hide the link and everything behind it, so what the layer has in it is moved to where the link leads.
 */
import { OverlaidError } from '../../errors.ts'
import { components } from '../../tar/name.ts'
import { quoteName } from '../../tar/syntax.ts'
import type { OpMeta } from '../../native/file-op.ts'
import type { SettlingLayer } from './settle-layer.ts'
import { type FoundKind, parentsFirst, splitLast } from './settle-look.ts'

/** Moves what is in implied folders that cover symlinks, parents first, until there are none left. */
export async function settleMoves(layer: SettlingLayer, signal: AbortSignal | undefined): Promise<void> {
  const settled = new Set<string>()
  // What is moved, and what is made for it, is implied elsewhere now: looked at in the next round.
  while (await moveOnce(layer, settled)) signal?.throwIfAborted()
}

async function moveOnce(layer: SettlingLayer, settled: Set<string>): Promise<boolean> {
  for (const path of parentsFirst(layer.implied.keys())) {
    if (settled.has(path)) continue
    const target = await linkTarget(layer, path)
    if (target !== undefined) {
      await moveInto(layer, path, target)
      return true
    }
    settled.add(path)
  }
  return false
}

/**
 * Where the symlink below an implied folder leads, undefined when there is none to follow: the layer deleted it,
 * or it leads to a file or nowhere for ever, and then the folder takes its place.
 */
async function linkTarget(layer: SettlingLayer, path: string): Promise<string | undefined> {
  if (path === '' || layer.implied.get(path)?.fresh !== false) return undefined
  if ((await layer.lowerAt(path))?.kind !== 'symlink') return undefined
  return layer.resolve(components(path))
}

/** Moves everything in `from` into `to`, which need not be there, and removes `from`. */
async function moveInto(layer: SettlingLayer, from: string, to: string): Promise<void> {
  await layer.makeDirs(to)
  const there = new Map(
    (await layer.upper.list(to)).map(({ name, stat }) => [latin1(name), layer.upper.kindOf(stat)]),
  )
  const free: string[] = []
  for (const { name, stat } of await layer.upper.list(from)) {
    const text = latin1(name)
    const dest = there.get(text)
    // Hard links still to be made are on no disk: two names that fall together are found here all the same.
    if (layer.links.has(join(to, text))) throw collision(from, to, text)
    if (dest === undefined) free.push(text)
    else await moveOnto(layer, { from, to, name: text }, layer.upper.kindOf(stat), dest)
  }
  await layer.moveEntries(from, to, free)
  await moveLinks(layer, from, to, there)
  const wasOpaque = layer.opaque.has(from)
  const wasFresh = layer.implied.get(from)?.fresh === true
  await layer.removeDir(from)
  if (wasFresh) renew(layer, to)
  else if (wasOpaque && to !== '') layer.makeOpaque(to)
}

interface Move {
  readonly from: string
  readonly to: string
  readonly name: string
}

/** Moves a name to where its namesake is. */
async function moveOnto(layer: SettlingLayer, move: Move, kind: FoundKind, dest: FoundKind): Promise<void> {
  const { from, to, name } = move
  const [source, target] = [join(from, name), join(to, name)]
  if (kind === 'whiteout') await whiteOut(layer, source, target, dest === 'dir')
  else if (dest === 'whiteout') {
    await layer.removeWhiteout(target)
    await layer.moveEntries(from, to, [name])
    if (kind === 'dir') renew(layer, target)
  } else if (kind === 'dir' && dest === 'dir') await mergeDirs(layer, source, target)
  else throw collision(from, to, name)
}

/** The hard links still to be made in `from` are to be made in `to`. */
async function moveLinks(
  layer: SettlingLayer,
  from: string,
  to: string,
  there: ReadonlyMap<string, FoundKind>,
): Promise<void> {
  const names = [...layer.links.keys()]
    .filter((path) => splitLast(path).parent === from)
    .map((path) => splitLast(path).name)
  for (const name of names) {
    const dest = there.get(name)
    if (dest === 'whiteout') await layer.removeWhiteout(join(to, name))
    else if (dest !== undefined || layer.links.has(join(to, name))) throw collision(from, to, name)
  }
  layer.follow(from, to, new Set(names))
}

/** A whiteout hides what is below: by a folder's mark where the layer brings a folder of that name. */
async function whiteOut(layer: SettlingLayer, from: string, to: string, isDir: boolean): Promise<void> {
  await layer.removeWhiteout(from)
  if (isDir) renew(layer, to)
}

function renew(layer: SettlingLayer, path: string): void {
  if (layer.implied.has(path)) layer.implied.set(path, { fresh: true })
  layer.makeOpaque(path)
}

async function mergeDirs(layer: SettlingLayer, from: string, to: string): Promise<void> {
  const given = !layer.implied.has(from)
  const meta = given && layer.implied.has(to) ? await metaAt(layer, from) : undefined
  await moveInto(layer, from, to)
  if (meta === undefined) return
  await layer.giveMeta(to, meta)
}

async function metaAt(layer: SettlingLayer, path: string): Promise<OpMeta> {
  const found = await layer.upper.find(path)
  if (found === undefined) throw new RangeError(`${path} was there a moment ago`)
  const { mode, uid, gid, mtimeSec, mtimeNsec } = found.stat
  return { mode, uid, gid, mtimeSec, mtimeNsec, xattrs: await layer.upper.xattrs(path) }
}

function collision(from: string, to: string, name: string): OverlaidError {
  const [a = '', b = '', link = ''] = [join(from, name), join(to, name), from].map((path) =>
    quoteName(Buffer.from(path, 'latin1')),
  )
  return new OverlaidError(
    'ERR_BAD_TAR',
    `bad tar: ${a} and ${b} are one file, since ${link} is a symlink below`,
  )
}

function latin1(bytes: Buffer): string {
  return bytes.toString('latin1')
}

function join(dir: string, name: string): string {
  return dir === '' ? name : `${dir}/${name}`
}

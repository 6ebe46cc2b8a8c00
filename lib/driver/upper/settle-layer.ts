/**
 * A layer that is being settled: its folder on disk, what is noted of it, and what lies below. Everything that
 * changes the folder goes through here, so that the notes stay true and the folders' times can be put back.
 */
import type { Bytes } from '../../native/binding.ts'
import { type FileOp, fileops, type OpMeta } from '../../native/file-op.ts'
import { S } from '../../native/flags.ts'
import { OPAQUE_VALUE } from '../../oci/whiteout.ts'
import { components } from '../../tar/name.ts'
import type { ApplyNotes } from './apply-notes.ts'
import { pathBytes } from './apply-tree.ts'
import { type Found, splitLast, TreeLook } from './settle-look.ts'
import { type Marks, OVERLAY_MARKS } from './marks.ts'

/** The kernel's MAXSYMLINKS. */
const MAX_LINKS = 40

/** Of a folder that nothing says anything about: root's, and a time that does not depend on when it was unpacked. */
export const DEFAULT_DIR: OpMeta = { mode: S.S_IFDIR | 0o755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0 }

export class SettlingLayer {
  readonly upper: TreeLook
  readonly below: TreeLook | undefined
  readonly implied: Map<string, { fresh: boolean }>
  readonly whiteouts: Set<string>
  readonly opaque: Set<string>
  /** Hard links still to be made, the path they go to by the name they lead to; in the archive's order. */
  readonly links: Map<string, string>
  readonly #marks: Marks
  /** Times of folders that the archive gave, to be put back. */
  readonly #times = new Map<string, { mtimeSec: number; mtimeNsec: number }>()
  readonly #lower = new Map<string, Promise<Found | undefined>>()

  constructor(diffFd: number, parentRootFd: number | undefined, notes: ApplyNotes, marks: Marks) {
    this.upper = new TreeLook(diffFd, marks.whiteoutMinor)
    // What a merged tree shows has no marks; a 0:0 device in it would become one in any upper directory.
    const { whiteoutMinor } = OVERLAY_MARKS
    this.below = parentRootFd === undefined ? undefined : new TreeLook(parentRootFd, whiteoutMinor)
    this.#marks = marks
    const text = (path: Buffer): string => path.toString('latin1')
    this.implied = new Map(notes.implied.map(({ path, fresh }) => [text(path), { fresh }]))
    this.whiteouts = new Set(notes.whiteouts.map(text))
    this.opaque = new Set(notes.opaque.map(text))
    this.links = new Map(notes.links.map(({ path, target }) => [text(path), text(target)]))
  }

  /** What the kernel will see below `path`: nothing where a folder above it is opaque, or is none down there. */
  lowerAt(path: string): Promise<Found | undefined> {
    const known = this.#lower.get(path)
    if (known !== undefined) return known
    const found = this.#lookBelow(path)
    this.#lower.set(path, found)
    return found
  }

  async #lookBelow(path: string): Promise<Found | undefined> {
    if (this.below === undefined) return undefined
    if (path !== '') {
      const { parent } = splitLast(path)
      if (this.opaque.has(parent) || (await this.lowerAt(parent))?.kind !== 'dir') return undefined
    }
    const found = await this.below.find(path)
    return found?.kind === 'whiteout' ? undefined : found
  }

  /**
   * The folder that `parts` lead to in this layer over those below, whether it is there or not; undefined when a
   * file is in the way or the symlinks go round in circles.
   */
  async resolve(parts: readonly string[]): Promise<string | undefined> {
    const rest = [...parts].reverse()
    const at: string[] = []
    for (let links = 0; ;) {
      const name = rest.pop()
      if (name === undefined) return at.join('/')
      if (name === '..') {
        at.pop()
        continue
      }
      const next = await this.#look([...at, name].join('/'))
      if (next === 'blocked') return undefined
      if (next === 'folder') at.push(name)
      else if (++links > MAX_LINKS) return undefined
      else {
        if (next.target.startsWith('/')) at.length = 0
        rest.push(...components(next.target).reverse())
      }
    }
  }

  async #look(path: string): Promise<'folder' | 'blocked' | { target: string }> {
    if (this.links.has(path)) return 'blocked'
    const own = await this.upper.find(path)
    if (own?.kind === 'whiteout') return 'folder'
    if (own?.kind === 'symlink') return { target: await this.upper.readLink(path) }
    if (own !== undefined && own.kind !== 'dir') return 'blocked'
    // A folder that the archive only implies stands for whatever is below, a symlink too.
    const covers = own === undefined || this.implied.get(path)?.fresh === false
    const found = covers ? await this.lowerAt(path) : undefined
    if (found?.kind === 'symlink') return { target: (await this.below?.readLink(path)) ?? '' }
    return own === undefined && found !== undefined && found.kind !== 'dir' ? 'blocked' : 'folder'
  }

  run(ops: readonly FileOp[]): Promise<void> {
    return fileops(this.upper.root, ops)
  }

  /** Makes `path` and the folders above it where they are missing; what is made is implied. */
  async makeDirs(path: string): Promise<void> {
    if (path === '') return
    const { parent } = splitLast(path)
    await this.makeDirs(parent)
    const found = await this.upper.find(path)
    if (found?.kind === 'dir') return
    await this.changing(parent)
    const fresh = found?.kind === 'whiteout'
    if (fresh) await this.removeWhiteout(path)
    await this.run([{ op: 'dir', path: pathBytes(path), ...DEFAULT_DIR }])
    this.implied.set(path, { fresh })
    if (fresh) this.makeOpaque(path)
  }

  async removeWhiteout(path: string): Promise<void> {
    await this.changing(splitLast(path).parent)
    await this.run([{ op: 'remove', path: pathBytes(path) }])
    this.whiteouts.delete(path)
  }

  /** The folder is to hide what is below it. */
  makeOpaque(path: string): void {
    this.opaque.add(path)
    this.#lower.clear()
  }

  /** Makes a whiteout at `path`, where nothing is. */
  async addWhiteout(path: string): Promise<void> {
    await this.changing(splitLast(path).parent)
    const device = { major: 0, minor: this.#marks.whiteoutMinor }
    await this.run([{ op: 'node', path: pathBytes(path), ...device, ...DEFAULT_DIR, mode: S.S_IFCHR }])
    this.whiteouts.add(path)
  }

  /**
   * Forgets the opaque folders that have nothing to hide, and marks the others: the kernel shows the mark itself in a
   * layer alone.
   */
  async markOpaque(): Promise<void> {
    for (const path of this.opaque) {
      if ((await this.lowerAt(path))?.kind !== 'dir') this.opaque.delete(path)
    }
    const { opaqueXattr } = this.#marks
    if (opaqueXattr === undefined) return
    const xattrs = [{ name: opaqueXattr, value: OPAQUE_VALUE }]
    await this.run([...this.opaque].map((path) => ({ op: 'meta', path: pathBytes(path), xattrs })))
  }

  /** Renames entries of the folder `from`, which have no namesakes in `to`, and follows them in the notes. */
  async moveEntries(from: string, to: string, names: readonly string[]): Promise<void> {
    if (names.length === 0) return
    await this.changing(from)
    await this.changing(to)
    const at = (dir: string, name: string): Bytes => pathBytes(dir === '' ? name : `${dir}/${name}`)
    await this.run(names.map((name) => ({ op: 'rename', path: at(from, name), dest: at(to, name) })))
    this.follow(from, to, new Set(names))
  }

  /** What is noted of `names` in the folder `from`, and of what is below them, is so in `to` from now on. */
  follow(from: string, to: string, names: ReadonlySet<string>): void {
    const moved = (path: string): string | undefined => {
      if (!path.startsWith(`${from}/`)) return undefined
      const rest = path.slice(from.length + 1)
      if (!names.has(rest.split('/', 1)[0] ?? '')) return undefined
      return to === '' ? rest : `${to}/${rest}`
    }
    rekey(this.implied, moved)
    rekey(this.links, moved)
    rekey(this.#times, moved)
    for (const set of [this.whiteouts, this.opaque]) {
      for (const path of [...set]) {
        const now = moved(path)
        if (now !== undefined && set.delete(path)) set.add(now)
      }
    }
    this.#lower.clear()
  }

  /** Removes an empty folder and forgets it. */
  async removeDir(path: string): Promise<void> {
    await this.changing(splitLast(path).parent)
    await this.run([{ op: 'remove', path: pathBytes(path) }])
    this.implied.delete(path)
    this.opaque.delete(path)
    this.#times.delete(path)
    this.#lower.clear()
  }

  /** Call before a folder's entries change: remembers its time, when it is one that the archive gave. */
  async changing(dir: string): Promise<void> {
    if (this.implied.has(dir) || this.#times.has(dir)) return
    const found = await this.upper.find(dir)
    if (found === undefined) return
    this.#times.set(dir, { mtimeSec: found.stat.mtimeSec, mtimeNsec: found.stat.mtimeNsec })
  }

  /** Gives a folder the metadata of an entry: it is implied no more. */
  async giveMeta(path: string, meta: OpMeta): Promise<void> {
    await this.run([{ op: 'meta', path: pathBytes(path), ...meta }])
    this.implied.delete(path)
    this.#times.set(path, { mtimeSec: meta.mtimeSec, mtimeNsec: meta.mtimeNsec })
  }

  /** Puts the times back; last of all. */
  async restoreTimes(): Promise<void> {
    const ops = [...this.#times].map(([path, time]): FileOp => ({
      op: 'meta',
      path: pathBytes(path === '' ? '.' : path),
      ...time,
    }))
    await this.run(ops)
  }
}

/** Renames keys, in their place: the order of links counts. */
function rekey<V>(map: Map<string, V>, moved: (path: string) => string | undefined): void {
  const entries = [...map]
  if (!entries.some(([path]) => moved(path) !== undefined)) return
  map.clear()
  for (const [path, value] of entries) map.set(moved(path) ?? path, value)
}

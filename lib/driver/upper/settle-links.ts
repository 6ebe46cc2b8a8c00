/** Hard links to files that a layer's archive does not bring: the file is copied up, as the kernel would. */
import { closeSync, constants, promises as fs } from 'node:fs'
import { hasCode, OverlaidError } from '../../errors.ts'
import { binding, type Bytes, type Stat } from '../../native/binding.ts'
import type { FileOp, OpMeta } from '../../native/file-op.ts'
import { components } from '../../tar/name.ts'
import { quoteName } from '../../tar/syntax.ts'
import { isForeignXattr } from './apply-meta.ts'
import { pathBytes } from './apply-tree.ts'
import type { SettlingLayer } from './settle-layer.ts'
import { type FullFound, lookAt, splitLast } from './settle-look.ts'

const OPEN_SOURCE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const OPEN_COPY = constants.O_WRONLY | constants.O_NOFOLLOW

/** Makes the links that are noted. Returns the bytes of what was copied up. @throws ERR_BAD_TAR where there is no target */
export async function settleLinks(layer: SettlingLayer, signal: AbortSignal | undefined): Promise<number> {
  const linker = new Linker(layer)
  for (const path of [...layer.links.keys()]) {
    signal?.throwIfAborted()
    await linker.make(path)
  }
  return linker.added
}

class Linker {
  readonly #layer: SettlingLayer
  /** Where a file that the layer itself hides was copied to: a second link to it is a link to that. */
  readonly #copies = new Map<string, string>()
  readonly #making = new Set<string>()
  added = 0

  constructor(layer: SettlingLayer) {
    this.#layer = layer
  }

  async make(path: string): Promise<void> {
    const target = this.#layer.links.get(path)
    // Made already, for a link that came before it and leads to it.
    if (target === undefined) return
    this.#making.add(path)
    const parts = components(target)
    const name = parts.pop() ?? ''
    const dir = await this.#layer.resolve(parts)
    const found = dir === undefined ? undefined : dir === '' ? name : `${dir}/${name}`
    if (!(await this.#linkToOwn(path, found)) && !(await this.#linkToLower(path, target, found))) {
      throw noTarget(path, target)
    }
    this.#layer.links.delete(path)
  }

  /** To a file of this layer: one that came later in the archive, or is such a link itself. */
  async #linkToOwn(path: string, target: string | undefined): Promise<boolean> {
    if (target === undefined || target === path) return false
    if (this.#layer.links.has(target)) {
      if (this.#making.has(target)) throw noTarget(path, target)
      await this.make(target)
    }
    const found = await this.#layer.upper.find(target)
    if (found === undefined || found.kind === 'whiteout') return false
    if (found.kind === 'dir') throw noTarget(path, target)
    await this.#link(path, target)
    return true
  }

  async #linkToLower(path: string, target: string, resolved: string | undefined): Promise<boolean> {
    const visible =
      resolved === undefined || resolved === path ? undefined : await this.#layer.lowerAt(resolved)
    const isHidden = resolved !== undefined && this.#layer.whiteouts.has(resolved)
    if (resolved !== undefined && visible !== undefined && visible.kind !== 'dir' && !isHidden) {
      await this.#layer.makeDirs(splitLast(resolved).parent)
      await this.#copy(target, resolved)
      await this.#link(path, resolved)
      return true
    }
    // The layer deletes or hides the file by that name, and keeps it by this one.
    const copy = this.#copies.get(target)
    if (copy !== undefined) await this.#link(path, copy)
    else if (!(await this.#copy(target, path))) return false
    this.#copies.set(target, copy ?? path)
    return true
  }

  async #link(path: string, target: string): Promise<void> {
    await this.#layer.changing(splitLast(path).parent)
    await this.#layer.run([
      {
        op: 'link',
        path: pathBytes(path),
        target: pathBytes(target),
      },
    ])
  }

  /** Copies the file that `target` leads to below this layer; false when there is none. */
  async #copy(target: string, to: string): Promise<boolean> {
    const source = await this.#openBelow(target)
    if (source === undefined) return false
    try {
      await this.#layer.changing(splitLast(to).parent)
      await this.#copyFrom(source, pathBytes(to))
      return true
    } finally {
      closeSync(source.parentFd)
    }
  }

  /** The folder of `target`, links followed below, and what is there by its last name. */
  async #openBelow(target: string): Promise<Source | undefined> {
    const root = this.#layer.below?.root
    if (root === undefined) return undefined
    const { parent, name } = splitLast(target)
    let parentFd: number | undefined
    try {
      parentFd = await binding.openInRoot(
        root,
        Buffer.from(parent === '' ? '.' : parent, 'latin1'),
        constants.O_DIRECTORY,
        0,
      )
      const bytes = Buffer.from(name, 'latin1')
      const found = await lookAt(parentFd, bytes)
      if (found.kind !== 'dir' && found.kind !== 'whiteout') return { parentFd, name: bytes, ...found }
      closeSync(parentFd)
      return undefined
    } catch (error) {
      if (parentFd !== undefined) closeSync(parentFd)
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
      throw error
    }
  }

  async #copyFrom(source: Source, path: Bytes): Promise<void> {
    const { stat, xattrs, target } = source
    const meta: OpMeta = {
      mode: stat.mode,
      uid: stat.uid,
      gid: stat.gid,
      mtimeSec: stat.mtimeSec,
      mtimeNsec: stat.mtimeNsec,
      xattrs: xattrs.filter(({ name }) => !isForeignXattr(name)),
    }
    this.added += stat.size
    if (source.kind === 'file') {
      await this.#layer.run([{ op: 'create', path }])
      await this.#copyContent(source, path)
      await this.#layer.run([{ op: 'meta', path, ...meta }])
    } else await this.#layer.run([specialOp(path, stat, target, meta)])
  }

  /** copyFile() takes copy_file_range(2) where it can; both ends are open already, so no name is followed. */
  async #copyContent({ parentFd, name }: Source, path: Bytes): Promise<void> {
    const from = await binding.openInRoot(parentFd, name, OPEN_SOURCE, 0)
    try {
      const to = await binding.openInRoot(this.#layer.upper.root, path, OPEN_COPY, 0)
      try {
        await fs.copyFile(`/proc/self/fd/${String(from)}`, `/proc/self/fd/${String(to)}`)
      } finally {
        closeSync(to)
      }
    } finally {
      closeSync(from)
    }
  }
}

interface Source extends FullFound {
  readonly parentFd: number
  readonly name: Buffer
}

function specialOp(path: Bytes, stat: Stat, target: Buffer | undefined, meta: OpMeta): FileOp {
  if (target !== undefined) return { op: 'symlink', path, target, ...meta }
  return { op: 'node', path, major: stat.rdevMajor, minor: stat.rdevMinor, ...meta }
}

function noTarget(path: string, target: string): OverlaidError {
  const [name, leads] = [path, target].map((text) => quoteName(Buffer.from(text, 'latin1')))
  const text = `bad tar: the hard link ${name ?? ''} leads to ${leads ?? ''}, a file that neither this layer has nor one below`
  return new OverlaidError('ERR_BAD_TAR', text, { path: pathBytes(path).toString() })
}

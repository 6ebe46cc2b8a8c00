/**
 * A tar file on disk as files by path: its headers are read once, its bodies when someone asks for them, in any
 * order and several at a time.
 *
 * Of several members with one path the last counts, as when unpacking. Links are followed inside the archive only:
 * `..` stops at its root. Names that are not UTF-8 are kept out, since no manifest can name them.
 */
import type { FileHandle } from 'node:fs/promises'
import { posix } from 'node:path'
import { OverlaidError } from '../errors.ts'
import type { TarHeader, TarLimits } from '../tar/entry.ts'
import { BLOCK, type BlockHeader, isZeroBlock, paddingOf, parseHeader } from '../tar/header.ts'
import { type Extensions, mergeHeader, NO_RECORDS } from '../tar/member.ts'
import { cleanName } from '../tar/name.ts'
import { parsePax } from '../tar/pax.ts'
import { DEFAULT_LIMITS } from '../tar/scanner.ts'
import { oldGnuRuns, paxSparseKind } from '../tar/sparse.ts'
import { type Place, TarSyntaxError, badTar, overLimit } from '../tar/syntax.ts'
import { type Range, readAt, readRange } from './file.ts'
import type { Part, Parts } from './parts.ts'

/** As the kernel's limit on symlinks in one path. */
const MAX_LINKS = 40
/** Read at once while looking for headers: small members' bodies come with them. */
const WINDOW = 64 * 1024

/** A file's body, the clean path that a link leads to, or a file that is not stored as it is. */
type Member =
  | { readonly kind: 'file'; readonly range: Range }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'sparse' }

/** Files of a tar. Owns `file`. */
export class Archive implements Parts {
  readonly name: string
  readonly #file: FileHandle
  readonly #members: ReadonlyMap<string, Member>

  private constructor(file: FileHandle, name: string, members: ReadonlyMap<string, Member>) {
    this.#file = file
    this.name = name
    this.#members = members
  }

  /**
   * Reads the headers of the archive in `file`. On failure the file is still the caller's.
   * @param name for messages
   * @throws ERR_BAD_TAR, ERR_LIMIT_EXCEEDED, the signal's reason
   */
  static async open(
    file: FileHandle,
    name: string,
    options: { readonly limits?: TarLimits | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Archive> {
    const indexer = new Indexer(file, { ...DEFAULT_LIMITS, ...options.limits })
    for (;;) {
      options.signal?.throwIfAborted()
      if (!(await indexer.step())) return new Archive(file, name, indexer.members)
    }
  }

  async find(path: string): Promise<Part | undefined> {
    // Nothing to wait for; async so that what it throws is a rejection, as Parts has it.
    return Promise.resolve(this.#lookUp(path))
  }

  #lookUp(path: string): Part | undefined {
    let at = cleanText(path)
    for (let links = 0; links <= MAX_LINKS; links++) {
      const member = this.#members.get(at)
      if (member === undefined) return undefined
      if (member.kind === 'file') return this.#part(path, member.range)
      if (member.kind === 'sparse')
        throw this.#bad(path, 'is stored as a sparse file, pack it without --sparse')
      at = member.target
    }
    throw this.#bad(path, 'leads through too many links')
  }

  #bad(path: string, what: string): OverlaidError {
    return new OverlaidError('ERR_BAD_TAR', `${this.name}: ${JSON.stringify(path)} ${what}`)
  }

  #part(path: string, range: Range): Part {
    const what = `${this.name}: ${path}`
    return { size: range.size, read: (signal) => readRange(this.#file, range, what, signal) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }
}

/** Walks over the headers of an archive. */
class Indexer {
  readonly members: Map<string, Member> = new Map()
  readonly #file: FileHandle
  readonly #limits: Required<TarLimits>
  #window: Buffer = Buffer.alloc(0)
  #windowAt = 0
  #at = 0
  #entries = 0

  constructor(file: FileHandle, limits: Required<TarLimits>) {
    this.#file = file
    this.#limits = limits
  }

  /** Reads one member's headers and steps over its body. False at the archive's end. */
  async step(): Promise<boolean> {
    const extensions: Extensions = {}
    const start = this.#at
    for (;;) {
      const place: Place = { offset: this.#at }
      const block = await this.#bytes(BLOCK, place)
      if (block === undefined || isZeroBlock(block)) return this.#end(start, place)
      this.#at += BLOCK
      const header = located(place, () => parseHeader(block))
      if (await this.#extension(header, extensions, place)) continue
      if (header.flag === 'S') await this.#sparseBlocks(block, place)
      await this.#member(header, extensions, place)
      return true
    }
  }

  #end(start: number, place: Place): false {
    if (this.#at !== start) throw badTar('the archive ends after an extension header', place)
    return false
  }

  /** Takes an extension header's body. False when the header is a member's. */
  async #extension({ flag, size }: BlockHeader, into: Extensions, place: Place): Promise<boolean> {
    if (!'xgLK'.includes(flag)) return false
    if (size > this.#limits.maxExtensionBytes) throw overLimit('an extension header is too long', place)
    const padded = size + paddingOf(size)
    const body = size < 0 ? undefined : await this.#bytes(padded, place)
    if (body === undefined) throw badTar('an extension header is cut off', place)
    this.#at += padded
    located(place, () => {
      // Copies, since the window that they are views of is large.
      if (flag === 'x') into.pax = parsePax(Buffer.from(body.subarray(0, size)))
      else if (flag === 'L') into.longName = upToNul(body.subarray(0, size))
      else if (flag === 'K') into.longLink = upToNul(body.subarray(0, size))
    })
    return true
  }

  /** An old GNU sparse member's map goes on in blocks after the header, which its size does not count. */
  async #sparseBlocks(header: Buffer, place: Place): Promise<void> {
    let more = located(place, () => oldGnuRuns(header, 'header').more)
    while (more) {
      const block = await this.#bytes(BLOCK, place)
      if (block === undefined) throw badTar('the archive ends inside a header', place)
      this.#at += BLOCK
      more = located(place, () => oldGnuRuns(block, 'extension').more)
    }
  }

  async #member(block: BlockHeader, extensions: Extensions, place: Place): Promise<void> {
    if (++this.#entries > this.#limits.maxEntries) {
      throw overLimit(`more than ${String(this.#limits.maxEntries)} entries`, place)
    }
    const header = located({ ...place, entry: block.name }, () => mergeHeader(block, extensions))
    const range = { offset: this.#at, size: header.size }
    this.#at += header.size + paddingOf(header.size)
    if (this.#at > (await this.#fileSize())) throw badTar('the archive ends inside a body', place)
    const name = header.name.toString('utf8')
    if (!Buffer.from(name).equals(header.name)) return
    const isSparse = block.flag === 'S' || paxSparseKind(extensions.pax ?? NO_RECORDS) !== undefined
    const member = isSparse ? { kind: 'sparse' as const } : memberOf(header, range)
    if (member !== undefined) this.members.set(cleanText(name), member)
  }

  #size: number | undefined
  async #fileSize(): Promise<number> {
    this.#size ??= (await this.#file.stat()).size
    return this.#size
  }

  /** `count` bytes at the current place; undefined at the end of the file. */
  async #bytes(count: number, place: Place): Promise<Buffer | undefined> {
    const from = this.#at - this.#windowAt
    if (from < 0 || from + count > this.#window.length) {
      this.#window = await readAt(this.#file, this.#at, Math.max(count, WINDOW))
      this.#windowAt = this.#at
    }
    const bytes = this.#window.subarray(this.#at - this.#windowAt).subarray(0, count)
    if (bytes.length === 0) return undefined
    if (bytes.length < count) throw badTar('the archive ends inside a header', place)
    return bytes
  }
}

/** What can be found by a path: files and links. */
function memberOf(header: TarHeader, range: Range): Member | undefined {
  switch (header.type) {
    case 'file':
      return { kind: 'file', range }
    case 'hardlink':
      return { kind: 'link', target: cleanText(header.linkname.toString('utf8')) }
    case 'symlink':
      return { kind: 'link', target: symlinkTarget(header) }
    default:
      return undefined
  }
}

/** A symlink's target is relative to the folder that the link is in, or to the archive's root. */
function symlinkTarget({ name, linkname }: TarHeader): string {
  const isAbsolute = linkname[0] === 0x2f
  const folder = isAbsolute ? '' : posix.dirname(cleanName(name).toString('latin1'))
  return cleanName(Buffer.from(`${folder}/${linkname.toString('latin1')}`, 'latin1')).toString('utf8')
}

function cleanText(path: string): string {
  return cleanName(Buffer.from(path)).toString('utf8')
}

function upToNul(body: Buffer): Buffer {
  const end = body.indexOf(0)
  return Buffer.from(end < 0 ? body : body.subarray(0, end))
}

function located<T>(place: Place, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw error instanceof TarSyntaxError ? badTar(error.message, place, error) : error
  }
}

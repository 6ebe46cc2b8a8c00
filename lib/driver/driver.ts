/**
 * The storage driver: what keeps layers on disk and shows them merged.
 *
 * The model is moby's graph driver. A driver knows directories by an id (a cacheID for a layer of an image, a
 * mount id for a container), each with at most one parent, and nothing of images, digests or names; those are
 * the store's. An id's content is its own changes on top of its parent's content.
 *
 * Filling an image's layers: {@link Driver.stage} opens a staging folder that no id names yet, {@link
 * StagedLayer.apply} unpacks the layer's tar into it — several layers of one image at once, since no parent is
 * needed for that — and {@link StagedLayer.commit} settles what did need the parent, then gives the folder its
 * id by one rename. Until then a crash leaves only rubbish under the staging folder's lock.
 *
 *     const base = await driver.stage();  await base.apply(tar0);  await base.commit(id0, undefined)
 *     const next = await driver.stage();  await next.apply(tar1);  await next.commit(id1, id0)
 *
 * Running a container: {@link Driver.createReadWrite} makes a writable layer, {@link Driver.get} mounts it
 * merged with its parents, {@link Driver.put} undoes that, {@link Driver.diff} packs what was changed as a layer
 * tar, {@link Driver.remove} drops it.
 *
 *     await driver.createReadWrite(mountID, id1)
 *     const path = await driver.get(mountID)      // …a merged root file system…
 *     await driver.put(mountID)
 *     for await (const change of driver.changes(mountID, id1)) console.log(change.kind, change.path)
 */
import type { Detached } from '../native/mount.ts'
import type { ByteStream } from '../tar/byte-source.ts'
import type { TarLimits, TarObserver } from '../tar/entry.ts'
import type { IDMap } from './id-map.ts'
import type { TarStream } from './tar-stream.ts'

/** `A`dded, `C`hanged or `D`eleted, as `docker diff` prints. */
export type ChangeKind = 'A' | 'C' | 'D'

/** One path that differs from the parent. `path` is absolute in the layer, as bytes. */
export interface Change {
  readonly kind: ChangeKind
  readonly path: Buffer
}

/** Options a caller may ask for at mount; everything else is pinned by the driver (see overlay2/options.ts). */
export interface MountOptions {
  readonly readOnly?: boolean
  /** No sync ever reaches the upper file system (5.10): for throw-away roots. */
  readonly volatile?: boolean
  readonly redirectDir?: boolean
  readonly metacopy?: boolean
  readonly xino?: 'on' | 'off' | 'auto'
  /**
   * Marks in user.overlay.* instead of trusted.overlay.* (5.11), also in the lower layers: an opaque directory of an
   * image's layer, which is marked the other way, then shows what it should hide. For layers made that way.
   */
  readonly userxattr?: boolean
  readonly noatime?: boolean
  readonly nodev?: boolean
  readonly nosuid?: boolean
  readonly noexec?: boolean
  /** SELinux context for the whole mount (`context=`). */
  readonly context?: string
  /** Gives up waiting for the mounts that others asked for before (lib/native/gate.ts); not the mount itself. */
  readonly signal?: AbortSignal
}

/** Options of a container's writable layer. */
export interface ReadWriteOptions {
  /**
   * The most bytes that the layer may take on disk, docker's `--storage-opt size=`: what it writes beyond that fails
   * with EDQUOT or ENOSPC. The limit is the kernel's (project quota, qgroup, quota property) and goes with the layer.
   * vfs counts what the layer has of its parents as well.
   */
  readonly size?: number
  /** The ids that the container sees, see id-map.ts. The layers below stay as they are, and shared. */
  readonly idMap?: IDMap
  /**
   * False: the driver need not sync, since the caller syncs the file system before anything names the layer; so
   * several are synced at once. What a power cut leaves before that is an orphan, whole or not. Default true.
   */
  readonly sync?: boolean
}

/** A layer's limit and what it takes of it, in bytes on disk. */
export interface LayerQuota {
  readonly used: number
  readonly limit: number
}

export interface OpenOptions extends MountOptions {
  /** Of a layer with an id map: the ids as in the image's layers. For reading only. */
  readonly unmapped?: boolean
}

export interface ApplyOptions {
  readonly limits?: TarLimits
  readonly signal?: AbortSignal
  /** Sees the archive's bytes as they are cut up, for tar-split. */
  readonly observer?: TarObserver
}

/** A layer being unpacked, held by a lock so that gc leaves it alone. */
export interface StagedLayer extends AsyncDisposable {
  /** The staging folder; the store may put files of its own beside the layer, they go with it. */
  readonly path: string
  /** Unpacks an uncompressed layer tar. Once. Returns the layer's size in bytes as moby counts it. */
  apply(tar: ByteStream, options?: ApplyOptions): Promise<number>
  /** Settles what needs the parent and syncs (durability `full`). Idempotent; parents must be committed. */
  settle(parent: string | undefined): Promise<number>
  /** settle(), then makes it `id`. Short when settled before: renames and small files only. */
  commit(id: string, parent: string | undefined): Promise<void>
  /**
   * As commit(), in the place of what `id` has, which goes to the trash, or had: layers on top of it find this one.
   * Whoever looks finds the one or the other, whole. Nothing of it may be mounted.
   */
  replace(id: string, parent: string | undefined): Promise<void>
  /** Removes the staging folder when it was not committed. Idempotent. */
  discard(): Promise<void>
}

/** What `inspect` shows: the folders of one id. */
export interface LayerPaths {
  readonly lowerdir: readonly string[]
  readonly upperdir: string
  readonly workdir?: string
  readonly merged?: string
}

/** A detached view: `fd` is the root of a mount that is in no mount table, gone when the fd is closed. */
export type DetachedMount = Detached & AsyncDisposable

/** Something wrong or left over that the driver alone can see; see store/check.ts for the kinds. */
export interface DriverProblem {
  readonly kind: string
  readonly severity: 'damage' | 'rubbish'
  readonly path: string
  /** The layer that it is about; where it is absent, what comes first in the path below the home. */
  readonly id?: string
  readonly detail: string
  /** Mends it; absent where only removal of the layer would. */
  readonly repair?: () => Promise<void>
}

/** How many bytes a layer is, of its own and with all that is below it. */
export interface LayerWeight {
  readonly size: number
  readonly wholeSize: number
}

export interface Driver {
  /** Docker's name for it: names the folder `<root>/<name>` and `image/<name>`. */
  readonly name: string
  /** The driver's home, `<root>/<name>`. */
  readonly home: string
  /** The program whose processes serve the mounts, where it is not the kernel: one may die, and its mount with it. */
  readonly server?: string

  /**
   * Whether the process that served the mount of `id` at `path` has died. Does not wait for one that hangs, as far as
   * that can be known. Absent where the kernel serves the mounts.
   */
  isDead?(id: string, path: string): Promise<boolean>

  /**
   * Checks that the file system and the kernel can carry the driver. Nothing is left behind.
   * @throws ERR_UNSUPPORTED_FS, ERR_UNSUPPORTED_KERNEL, ERR_NO_PRIVILEGE; with a hint
   */
  verify(): Promise<void>
  /**
   * verify(), then makes the home. Before the first write; a second call does nothing. Same errors. A caller who
   * knows what verify() would say of this home, in this boot and as this user, says so by `verified`.
   */
  prepare(options?: { readonly verified?: boolean }): Promise<void>
  stage(): Promise<StagedLayer>
  /** An empty layer to be filled by applyDiff or by a mount. @throws ERR_ALREADY_EXISTS, ERR_LAYER_NOT_FOUND (parent) */
  create(id: string, parent: string | undefined): Promise<void>
  /**
   * A writable layer for a container. Same errors as create().
   * @throws ERR_UNSUPPORTED_FS where a `size` is asked for and the file system cannot enforce one, with a hint that
   *   says how it could; never a layer without the limit; so for an id map. ERR_INVALID_ARGUMENT for an id map that
   *   is none, and for a size that the copy of its parent alone exceeds
   */
  createReadWrite(id: string, parent: string | undefined, options?: ReadWriteOptions): Promise<void>
  /**
   * The limit of a layer made with a `size`, and what it uses, from the file system's own counters: no tree is walked.
   * Undefined where no limit is enforced: it has none, or the file system is mounted without its quotas.
   * @throws ERR_LAYER_NOT_FOUND
   */
  quota(id: string): Promise<LayerQuota | undefined>
  /**
   * Sets the limit of a layer made with a `size` again, where the file system has lost it: dockerd switches the quotas
   * of a btrfs off when it ends. Absent where limits last as long as the layer.
   */
  renewQuota?(id: string): Promise<void>
  exists(id: string): Promise<boolean>
  /** The parent's id, undefined for a base layer. @throws ERR_LAYER_NOT_FOUND */
  parent(id: string): Promise<string | undefined>
  /** Where the merged view of `id` shows while it is mounted. */
  mergedPath(id: string): string
  /**
   * Where the driver keeps what `id` has beside its parents, in a form that is right for any layer with the same ones.
   * Absent of a driver that keeps whole trees.
   */
  ownFolder?(id: string): string
  /**
   * Mounts id merged with its parents at {@link mergedPath}, or re-uses the mount that is there, with the options
   * that it has; each get needs one put. A mount that another process left there counts as one get of its own.
   * @throws ERR_DEAD_MOUNT when there is one whose server died; put with `force` undoes it
   */
  get(id: string, options?: MountOptions): Promise<string>
  /**
   * The last put unmounts, also a mount that another process left; a put too many does nothing. With durability `none`
   * it need not wait for the sync of the upper's file system, which is how an overlay ends: {@link idle} does.
   * @throws ERR_IN_USE when something below is open, and nothing is undone; with `force` the mount leaves the table
   *   at once and the kernel ends it when the last file is closed
   */
  put(id: string, options?: { readonly force?: boolean }): Promise<void>
  /**
   * Unmounts `mountID`, which the caller attached at {@link mergedPath}, without waiting for the overlay's end.
   * {@link open} of the same id waits for it, so that one upper has one overlay; others can wait for `ended`, which never
   * rejects: {@link idle} tells what failed. Undefined, and nothing is undone, where the caller has to unmount and wait.
   * @throws EBUSY when something below is open
   */
  beginUnmount?(id: string, mountID: bigint): Promise<{ readonly ended: Promise<void> } | undefined>
  /** The merged view as a detached mount; nothing else may have id mounted writable (the store sees to that). */
  open(id: string, options?: OpenOptions): Promise<DetachedMount>
  /**
   * Renames id to the driver's trash and forgets it; {@link emptyTrash} deletes. A missing id is no error. With `sync`
   * false the driver need not sync, since nothing names id any more: a power cut may leave it as an orphan.
   * @throws ERR_IN_USE while it is mounted
   */
  remove(id: string, options?: { readonly sync?: boolean }): Promise<void>
  /** Deletes what remove() set aside, also in earlier processes, at idle I/O priority. Returns bytes freed. */
  emptyTrash(): Promise<number>
  /** Begins to delete in the background what remove() set aside in this process, as {@link emptyTrash} does. */
  emptyTrashSoon(): void
  /**
   * Waits for what emptyTrashSoon() began and for the ends of mounts that were put, and lets go of what is kept for the
   * next mount.
   * @throws what failed there since this was last called
   */
  idle(): Promise<void>
  /** Fills an empty layer made by create(). Returns the size as diffSize would. */
  applyDiff(
    id: string,
    parent: string | undefined,
    tar: AsyncIterable<Buffer>,
    options?: ApplyOptions,
  ): Promise<number>
  /**
   * The changes of id against parent, which must be its own, as an uncompressed layer tar; the same bytes each time.
   * Nothing is read before the stream is, which throws what goes wrong.
   * @throws ERR_INVALID_ARGUMENT when `parent` is not the parent; so do changes and diffSize
   */
  diff(id: string, parent: string | undefined, options?: { readonly signal?: AbortSignal }): TarStream
  /** Sorted by path bytes. */
  changes(id: string, parent: string | undefined): AsyncIterable<Change>
  /** Apparent bytes of all non-directories in the diff, each inode once (moby's rule). */
  diffSize(id: string, parent: string | undefined): Promise<number>
  /** Bytes on disk (st_blocks) of the diff, each inode once. */
  diskUsage(id: string): Promise<number>
  /** Opens a regular file of the merged content of id for reading, confined to the layer; for tar-split. */
  openFiles(id: string): Promise<FileGetter>
  metadata(id: string): Promise<LayerPaths>
  /**
   * What these layers take here, in words, where that is more than their own sizes: whoever loads them is told.
   * Absent where it never is.
   */
  costOf?(layers: readonly LayerWeight[]): string | undefined
  /** Ordered pairs for `info`, with moby's keys. */
  status(): Promise<readonly (readonly [string, string])[]>
  /** All ids in the home, mounted or not. */
  list(): Promise<string[]>
  /** What is broken or left over below the home. `referenced` are the ids that the store knows, with their parents. */
  check(referenced: ReadonlyMap<string, string | undefined>): Promise<DriverProblem[]>
  /** Unmounts everything this process mounted below the home, and waits as idle() does. */
  cleanup(): Promise<void>
}

/** Gives the bodies of a layer's files back, for reassembling its tar. */
export interface FileGetter extends AsyncDisposable {
  /** An fd the caller closes. `name` is a member name as in the archive; never leaves the layer. */
  open(name: Uint8Array): Promise<number>
}

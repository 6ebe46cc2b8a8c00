/** What the addon's functions take and give. */
import type { BlockCalls } from './block-calls.ts'
import type { BtrfsCalls } from './btrfs-calls.ts'
import type { QuotaCalls } from './quota.ts'

/** A path or name: bytes where it may not be UTF-8. A NUL inside is refused with a TypeError. */
export type Bytes = string | Uint8Array

/** One directory entry as getdents64(2) gives it; `.` and `..` are left out. */
export interface Dirent {
  readonly name: Buffer
  /** DT_* of dirent.h; DT_UNKNOWN (0) where the file system keeps no type. */
  readonly type: number
  readonly ino: bigint
}

/** What statx(2) says, narrowed. Sizes in bytes, `blocks` in units of 512 bytes, times in seconds + nanoseconds. */
export interface Stat {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  readonly ino: bigint
  readonly size: number
  readonly blocks: number
  readonly mtimeSec: number
  readonly mtimeNsec: number
  readonly ctimeSec: number
  readonly ctimeNsec: number
  readonly devMajor: number
  readonly devMinor: number
  readonly rdevMajor: number
  readonly rdevMinor: number
  /** STATX_ATTR_* bits. */
  readonly attributes: bigint
  /** The mount's id: unique (STATX_MNT_ID_UNIQUE, 6.8) where the kernel has it, else the re-usable one. */
  readonly mountID: bigint
  readonly mountIDUnique: boolean
}

/** statfs(2). */
export interface StatFs {
  readonly type: number
  readonly blockSize: number
  readonly blocks: bigint
  readonly blocksFree: bigint
  readonly blocksAvailable: bigint
  readonly files: bigint
  readonly filesFree: bigint
  readonly nameMax: number
  /** ST_* bits (ST_RDONLY is 1). */
  readonly flags: number
}

/** An extended attribute; the value is bytes. */
export interface Xattr {
  readonly name: string
  readonly value: Buffer
}

/** One entry of {@link scandirat}. */
export interface ScannedEntry {
  readonly name: Buffer
  readonly stat: Stat
  /** Asked for with `xattrs`; sorted by name. */
  readonly xattrs: readonly Xattr[]
  /** A symlink's target. */
  readonly target?: Buffer
}

/** How a path below a root is resolved; see openat2(2). */
export interface OpenHow {
  readonly flags: number
  readonly mode?: number
  readonly resolve?: number
}

declare const walkHandle: unique symbol
/** A walk that {@link Binding.walkStart} began. */
export interface WalkHandle {
  readonly [walkHandle]: true
}

/** What a walk reads of each entry. */
export interface WalkOptions {
  readonly xattrs: boolean
  /** Opens regular files; of one name and up to so many bytes they are read, of others the descriptor is given. */
  readonly bodies?: number
  /** The root of another tree: each record also says what that has by the same name. */
  readonly besideFd?: number
}

declare const cancellation: unique symbol
/** What {@link Binding.newCancellation} gives. */
export interface Cancellation {
  readonly [cancellation]: true
}

/** What of a tree is copied. */
export interface CopyTreeOptions {
  /** Paths below the source's root; without it everything, and the root's own metadata. */
  readonly only?: readonly Bytes[]
  /** Names of attributes that stay behind. */
  readonly leftOut: readonly string[]
}

/** What a lock call asks for. */
export type LockKind = 'read' | 'write' | 'unlock'

/** A mount as statmount(2) or mountinfo tells it. */
export interface MountInfo {
  readonly id: bigint
  readonly parentID: bigint
  readonly fsType: string
  /** Octal escapes undone. */
  readonly mountPoint: Buffer
  readonly root: Buffer
  readonly source: string
  /** Mount options such as `rw,nosuid`. */
  readonly options: string
  /** Super block options, as the kernel prints them. */
  readonly superOptions: string
}

/** One fsconfig(2) parameter of {@link Binding.fsmountConfigured}. */
export type FsParameter =
  | { readonly key: string; readonly value?: Bytes }
  /** A call for each of several strings, each ended by a NUL. */
  | { readonly key: string; readonly values: Bytes }
  /**
   * The directory `path`, opened O_PATH (links are followed) and given by descriptor (6.13 for overlay), or with
   * `byName` as the string /proc/self/fd/N.
   */
  | { readonly key: string; readonly path: Bytes; readonly byName?: boolean }
  /**
   * The directory in a detached clone of `cwd`, with the ids that a user namespace maps (6.15 for overlay). Links are
   * followed inside `cwd` alone.
   */
  | ({ readonly key: string } & MappedFolder)

/** A directory whose ids are mapped by MOUNT_ATTR_IDMAP (5.12). */
export interface MappedFolder {
  readonly path: Bytes
  readonly usernsFd: number
}

/** A mount that is in no mount table. */
export interface NewMount {
  readonly fd: number
  /** f_type of statfs(2). */
  readonly type: number
  /** ST_* bits of statfs(2). */
  readonly flags: number
  /** As {@link Stat.mountID}. */
  readonly mountID: bigint
}

/** What {@link Binding.mountDetached} gives: the mount, and its mountinfo line (without the newline). */
export interface UnattachedMount extends NewMount {
  readonly mountinfo: Buffer
}

/** A compressor or decompressor of the addon's. */
export interface CodecHandle {
  readonly codec: unique symbol
}

/** What one call of {@link Binding.runCodec} did. Bytes. */
export interface CodecStep {
  readonly consumed: number
  readonly produced: number
  /** Decompressors: the input so far may end here. Compressors: everything is written. */
  readonly ended: boolean
  /** What is wrong with the data, for good. */
  readonly problem?: string
}

/** The addon's functions. */
export interface Binding extends BlockCalls, BtrfsCalls, QuotaCalls {
  mount(source: Bytes, target: Bytes, type: string, flags: number, data: Bytes): Promise<void>
  /**
   * mount(2) as if it gave a descriptor: on a thread of its own, in a private copy of the mount namespace, with
   * `cwd` as working directory, so that relative names in `data` start there. Nobody sees the mount, nothing is
   * propagated. MS_BIND with other flags is remounted with them. Needs open_tree (5.2). The folders of `mapped` are
   * found at `<place>/<n>` meanwhile, where `place` is a folder that the mount does not need.
   */
  mountDetached(
    cwd: Bytes,
    source: Bytes,
    target: Bytes,
    type: string,
    flags: number,
    data: Bytes,
    mapped?: { readonly place: Bytes; readonly layers: readonly MappedFolder[] },
  ): Promise<UnattachedMount>
  umount2(target: Bytes, flags: number): Promise<void>
  /**
   * statx, and umount2 if what is mounted topmost at `target` is the mount `mountID`. Gives the id of what was
   * found there, undefined where `target` is no mount's root or is missing. A last link is not followed in looking;
   * UMOUNT_NOFOLLOW keeps the call from it.
   */
  unmountIf(target: Bytes, mountID: bigint, flags: number): Promise<bigint | undefined>
  /**
   * umount2, done at once, off the pool: it leaves the end of the super block, which is what takes long, to the close of
   * the descriptor that it gives (open_tree of the mount, cloned). Where the mount cannot be cloned, or an id is given and
   * another mount or none is topmost at `target`, nothing is done, and it gives undefined.
   */
  unmountLeavingNow(target: Bytes, mountID: bigint | undefined, flags: number): Promise<number | undefined>
  fsopen(type: string, flags: number): Promise<number>
  fsconfigSetFlag(fd: number, key: string): Promise<void>
  fsconfigSetString(fd: number, key: string, value: Bytes): Promise<void>
  fsconfigSetFd(fd: number, key: string, aux: number): Promise<void>
  fsconfigCreate(fd: number): Promise<void>
  fsmount(fd: number, flags: number, attributes: number): Promise<number>
  /**
   * fsopen, each parameter by fsconfig, CMD_CREATE and fsmount in one call. The parameters' paths start in the
   * directory `cwd`. An error of a parameter has its `index`.
   */
  fsmountConfigured(
    type: string,
    cwd: Bytes,
    parameters: readonly FsParameter[],
    attributes: number,
  ): Promise<NewMount>
  /** As fsmountConfigured, but done at once, off the pool. */
  readonly fsmountConfiguredNow: Binding['fsmountConfigured']
  moveMount(fromDirfd: number, from: Bytes, toDirfd: number, to: Bytes, flags: number): Promise<void>
  /**
   * As moveMount with MOVE_MOUNT_F_EMPTY_PATH, but done at once, off the pool: for a target on a file system that
   * cannot keep its caller waiting.
   */
  moveMountNow(fd: number, to: Bytes): Promise<void>
  openTree(dirfd: number, path: Bytes, flags: number): Promise<number>
  mountSetattr(
    dirfd: number,
    path: Bytes,
    flags: number,
    attr: {
      readonly set?: number
      readonly clear?: number
      readonly propagation?: number
      readonly usernsFd?: number
    },
  ): Promise<void>
  /** On a thread of its own: unshare(CLONE_FS), setns(nsFd, CLONE_NEWNS), move_mount(treeFd → target). */
  moveMountInto(nsFd: number, treeFd: number, target: Bytes): Promise<void>
  /** On a thread of its own: unshare(CLONE_FS), setns(nsFd, CLONE_NEWNS), umount2(target). */
  umount2In(nsFd: number, target: Bytes, flags: number): Promise<void>
  mknodat(dirfd: number, path: Bytes, mode: number, major: number, minor: number): Promise<void>
  statfs(path: Bytes): Promise<StatFs>
  fstatfs(fd: number): Promise<StatFs>
  getdents64(fd: number): Promise<Dirent[]>
  statx(dirfd: number, path: Bytes, flags: number): Promise<Stat>
  /**
   * getdents64 + statx (+ llistxattr/lgetxattr, readlinkat) of one directory in one call, sorted by name bytes.
   * The directory itself is not followed when a link; an empty `path` is `dirfd` itself.
   */
  scandirat(dirfd: number, path: Bytes, options: { readonly xattrs: boolean }): Promise<ScannedEntry[]>
  /** Begins a walk over all below `rootFd` (native/tree_walk.h). Synchronous, reads nothing yet. */
  walkStart(rootFd: number, options: WalkOptions): WalkHandle
  /** The next megabyte of records (native/tree_record.h), undefined at the end. Files in them are the caller's. */
  walkNext(walk: WalkHandle): Promise<Buffer | undefined>
  /** Closes what the walk has open, after the call that is under way. Synchronous. */
  walkEnd(walk: WalkHandle): void
  /**
   * Copies up to `count` bytes from position to position, and says how many: fewer at the end of `inFd`. A hole
   * becomes a hole where `outFd` is a file that ends there.
   */
  copyFileRange(inFd: number, outFd: number, count: number): Promise<number>
  /**
   * Copies what is below `fromFd` to below `toFd` (native/copy_tree.h). ECANCELED some time after the cancellation; an
   * error's `path` is below the roots.
   */
  copyTree(fromFd: number, toFd: number, options: CopyTreeOptions, cancellation: Cancellation): Promise<void>
  /** Synchronous. */
  newCancellation(): Cancellation
  /** Synchronous. */
  cancel(cancellation: Cancellation): void
  /** `undefined` where the attribute is absent (ENODATA). */
  lgetxattr(path: Bytes, name: string): Promise<Buffer | undefined>
  fgetxattr(fd: number, name: string): Promise<Buffer | undefined>
  lsetxattr(path: Bytes, name: string, value: Uint8Array, flags: number): Promise<void>
  fsetxattr(fd: number, name: string, value: Uint8Array, flags: number): Promise<void>
  llistxattr(path: Bytes): Promise<string[]>
  flistxattr(fd: number): Promise<string[]>
  lremovexattr(path: Bytes, name: string): Promise<void>
  openat(dirfd: number, path: Bytes, flags: number, mode: number): Promise<number>
  /** openat2(2) itself, without any fallback; see openInRoot. */
  openat2(dirfd: number, path: Bytes, how: OpenHow): Promise<number>
  /**
   * openat2's RESOLVE_IN_ROOT | NO_MAGICLINKS | NO_XDEV; without openat2 component by component. EAGAIN of a race
   * is retried.
   */
  openInRoot(rootFd: number, path: Bytes, flags: number, mode: number): Promise<number>
  /** Whether openInRoot, fileops and removeTree may use openat2 (process-wide); returns what was set before. */
  setOpenat2(use: boolean): boolean
  readlinkat(dirfd: number, path: Bytes): Promise<Buffer>
  mkdirat(dirfd: number, path: Bytes, mode: number): Promise<void>
  unlinkat(dirfd: number, path: Bytes, flags: number): Promise<void>
  /**
   * Removes the name `path` and everything below it, never following a link, never entering another mount (EXDEV);
   * ENOENT is success. Any depth. A btrfs subvolume goes as a whole, with those below it.
   */
  removeTree(dirfd: number, path: Bytes): Promise<void>
  /**
   * removeTree of each of `names`, names of `dirfd` each ended by a NUL, on a thread of its own at idle I/O priority
   * (ioprio_set). A folder is locked by flock(2) first and left where another description has it. A failure does not
   * keep it from the others; the first is told.
   */
  removeTreesIdle(dirfd: number, names: Bytes): Promise<void>
  renameat2(oldDirfd: number, old: Bytes, newDirfd: number, path: Bytes, flags: number): Promise<void>
  /** F_OFD_SETLK on the whole file: false where another description holds it. Done at once, off the pool. */
  ofdLock(fd: number, kind: LockKind): Promise<boolean>
  /** flock(2) with LOCK_NB: false where another description holds it. Done at once, off the pool. */
  flock(fd: number, kind: LockKind): Promise<boolean>
  syncfs(fd: number): Promise<void>
  pidfdOpen(pid: number): Promise<number>
  /** A user namespace with these maps, as /proc/PID/uid_map has them; nothing runs in it. */
  userNamespace(uidMap: string, gidMap: string): Promise<number>
  /** Runs `run`, which starts a program: that has all capabilities of this process but this one. Synchronous. */
  withoutCapability<T>(capability: number, run: () => T): T
  /** statmount(2) by unique id; rejects with ENOSYS before 6.8. */
  statmount(mountID: bigint): Promise<MountInfo>
  /** listmount(2): the unique ids below a mount (the whole namespace for LSMT_ROOT). */
  listmount(mountID: bigint): Promise<bigint[]>
  /**
   * Runs what an OpWriter wrote, in order on one thread of its own or of the pool; a failure stops there: the error
   * has the step's `index`, its `path`, and the `syscall` that failed. `code` is copied; `buffers` are written from
   * in place, and must stay as they are until the promise settles.
   */
  fileops(rootFd: number, code: Uint8Array, buffers: readonly Uint8Array[]): Promise<void>
  /** Whether this build has ISA-L and libzstd in it. Synchronous. */
  hasCodecs(): boolean
  /**
   * `gunzip` and `unzstd` have no level; `gzip` has 1 to 3, `zstd` 1 to 22 and `threads` of its own. Synchronous;
   * throws a TypeError where the build has no codecs.
   */
  openCodec(kind: 'gunzip' | 'gzip' | 'unzstd' | 'zstd', level: number, threads: number): CodecHandle
  /**
   * Works on `input` and fills `output`, on the pool, until one is used up; `last` when no input comes after it.
   * Both must be left alone until the promise is settled; one call at a time.
   */
  runCodec(codec: CodecHandle, input: Uint8Array, output: Uint8Array, last: boolean): Promise<CodecStep>
  /** CRC-64/GO-ISO in place: `state` is the 8-byte big-endian running value, zeroes at the start. Synchronous. */
  crc64(state: Uint8Array, data: Uint8Array): void
  /**
   * Reads plain members of a tar in `chunk` from `at` on (lib/tar/plain-run.ts) into `members` and `names`. Gives how
   * many, the bytes of their names, and where in the chunk they end. Synchronous.
   */
  tarRun(
    chunk: Uint8Array,
    at: number,
    members: Uint32Array,
    names: Uint8Array,
  ): [members: number, names: number, end: number]
  /**
   * Writes the tar-split lines of such members to `out`, two for each, on the pool, and gives how many bytes they are;
   * the first one is numbered `position`, and its bytes begin at `previousEnd`. `chunk` must stay as it is until the
   * promise settles.
   */
  tarSplitLines(
    chunk: Uint8Array,
    members: Uint32Array,
    names: Uint8Array,
    previousEnd: number,
    position: number,
    out: Uint8Array,
  ): Promise<number>
  /** Sums of a stream, by Node's own OpenSSL; undefined where the addon does not find that. */
  sumsNew(): SumsHandle | undefined
  /**
   * sha256 goes on with `data` from `from` on, and the CRC-64/GO-ISO of each range (start and end in turn) is given,
   * 8 bytes big-endian; with `goesOn` the first one's goes on with the last one's of the call before. One call at a
   * time; `data` must stay as it is until the promise settles.
   */
  sumsUpdate(
    sums: SumsHandle,
    data: Uint8Array,
    from: number,
    ranges: Uint32Array,
    goesOn: boolean,
  ): Promise<Buffer>
  /** sha256 of all, once. Synchronous. */
  sumsDigest(sums: SumsHandle): Buffer
}

declare const sumsHandle: unique symbol
/** What {@link Binding.sumsNew} gives. */
export type SumsHandle = object & { readonly [sumsHandle]: true }

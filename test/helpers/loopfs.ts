/**
 * A fresh file system for a test: on a loop device or a tmpfs, mounted on a folder of its own, unmounted and
 * detached when the test ends. Use mkfs's own defaults unless the kind says otherwise.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MIB } from './sizes.ts'

/**
 * `ext4-no-dtype` has no file types in its directory entries: what overlay2 must refuse. The `-quota` ones enforce
 * project quotas. `squashfs` is empty and can only be read.
 */
export type FileSystemKind =
  'ext4' | 'ext4-no-dtype' | 'ext4-quota' | 'xfs' | 'xfs-quota' | 'btrfs' | 'tmpfs' | 'squashfs' | 'vfat'

/** The command that makes one in the file `image`; `empty` is an empty folder. */
const MKFS: Record<Exclude<FileSystemKind, 'tmpfs'>, (image: string, empty: string) => readonly string[]> = {
  ext4: (image) => ['mkfs.ext4', '-q', '-F', image],
  'ext4-no-dtype': (image) => ['mkfs.ext4', '-q', '-F', '-O', '^filetype', image],
  'ext4-quota': (image) => [
    'mkfs.ext4',
    '-q',
    '-F',
    '-O',
    'quota,project',
    '-E',
    'quotatype=prjquota',
    image,
  ],
  xfs: (image) => ['mkfs.xfs', '-q', '-f', image],
  'xfs-quota': (image) => ['mkfs.xfs', '-q', '-f', image],
  btrfs: (image) => ['mkfs.btrfs', '-q', '-f', image],
  squashfs: (image, empty) => ['mksquashfs', empty, image, '-noappend', '-quiet', '-no-progress'],
  vfat: (image) => ['mkfs.vfat', image],
}

/** mkfs.xfs refuses less than 300 MiB. The image is sparse, so size costs nothing. */
export const DEFAULT_SIZE: number = 512 * MIB

export interface LoopFileSystem extends Disposable {
  /** Where it is mounted. */
  readonly dir: string
  /** The block device, or `tmpfs`. */
  readonly device: string
  /** The file behind the loop device. */
  readonly image?: string
  /** Unmounts and mounts again with other options: `remount('ro')`. */
  remount(options: string): void
  /** Unmounts (so that a tool can work on {@link image}), runs `work`, mounts again. */
  offline(work: (image: string) => void): void
  dispose(): void
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' })
}

/** Makes and mounts a file system of `kind` with `size` bytes, all of it below `place`. The caller disposes it. */
export function loopFileSystem(
  kind: FileSystemKind,
  size: number = DEFAULT_SIZE,
  place: string = tmpdir(),
): LoopFileSystem {
  const top = mkdtempSync(join(place, `overlaid-${kind}-`))
  const dir = join(top, 'fs')
  const image = join(top, 'image')
  mkdirSync(dir)
  try {
    if (kind !== 'tmpfs') makeImage(image, size, MKFS[kind](image, dir))
    const mount = (): void => {
      if (kind === 'tmpfs') run('mount', '-t', 'tmpfs', '-o', `size=${size.toString()}`, 'tmpfs', dir)
      // mount(8) sets the loop device's autoclear, so the unmount detaches it.
      else run('mount', '-o', kind.endsWith('-quota') ? 'loop,prjquota' : 'loop', image, dir)
    }
    mount()
    return handle(top, dir, kind === 'tmpfs' ? undefined : image, mount)
  } catch (error) {
    rmSync(top, { recursive: true, force: true })
    throw error
  }
}

function makeImage(image: string, size: number, [command = '', ...args]: readonly string[]): void {
  writeFileSync(image, '')
  truncateSync(image, size)
  run(command, ...args)
}

function handle(top: string, dir: string, image: string | undefined, mount: () => void): LoopFileSystem {
  let mounted = true
  // Another one after each mount: whoever makes a file system meanwhile may take the number.
  const source = (): string => run('findmnt', '-n', '-o', 'SOURCE', '--mountpoint', dir).trim()
  let device = source()
  const dispose = (): void => {
    if (!mounted) return
    run('umount', dir)
    mounted = false
    rmSync(top, { recursive: true, force: true })
  }
  return {
    dir,
    get device() {
      return device
    },
    ...(image === undefined ? {} : { image }),
    remount: (options) => void run('mount', '-o', `remount,${options}`, dir),
    offline: (work) => {
      run('umount', dir)
      work(image ?? dir)
      mount()
      device = source()
    },
    dispose,
    [Symbol.dispose]: dispose,
  }
}

/**
 * What this machine lets a test do, each found by trying it once, never by looking at the uid or at a version.
 *
 *     describe.skipIf(missing('canMount', 'canLoop'))('…', …)
 *
 * Where it must not be missing (CI=true or REQUIRE_KERNEL_TESTS=1), {@link missing} throws with the reason
 * instead: a silent skip is how a privileged suite goes green without running.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const require = createRequire(import.meta.url)

/** Runs a command and returns its stdout; throws with its stderr. */
function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', timeout: 60_000 })
}

function inTempDir(work: (dir: string) => void): void {
  const dir = mkdtempSync(join(tmpdir(), 'overlaid-gate-'))
  try {
    work(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Mounts with mount(8), so that a gate says what the machine can do, not what our addon can. */
function mountAndUnmount(dir: string, ...args: string[]): void {
  const target = join(dir, 'm')
  mkdirSync(target, { recursive: true })
  run('mount', ...args, target)
  run('umount', target)
}

function tryFileSystem(...mkfs: string[]): void {
  tryMounting('loop', ...mkfs)
}

function tryMounting(options: string, ...mkfs: string[]): void {
  inTempDir((dir) => {
    const image = join(dir, 'image')
    writeFileSync(image, '')
    truncateSync(image, 320 * 1024 * 1024)
    run(mkfs[0] ?? '', ...mkfs.slice(1), image)
    mountAndUnmount(dir, '-o', options, image)
  })
}

function tryTool(command: string, ...args: string[]): () => void {
  return () => void run(command, ...args)
}

/** Each tries the thing itself and throws where it can't be done. */
const attempts = {
  /** The addon is built and loads. */
  hasBinding: () => void require('node-gyp-build')(join(import.meta.dirname, '../..')),
  /** An overlay with an upper, on a tmpfs: what every kernel test needs. */
  canMount: () =>
    inTempDir((dir) => {
      const base = join(dir, 'base')
      mkdirSync(base)
      run('mount', '-t', 'tmpfs', 'none', base)
      try {
        for (const name of ['lower', 'upper', 'work']) mkdirSync(join(base, name))
        const layers = `lowerdir=${base}/lower,upperdir=${base}/upper,workdir=${base}/work`
        mountAndUnmount(dir, '-t', 'overlay', 'overlay', '-o', layers)
      } finally {
        run('umount', base)
      }
    }),
  /** A whiteout and a real device node. */
  canMknod: () =>
    inTempDir((dir) => {
      run('mknod', join(dir, 'whiteout'), 'c', '0', '0')
      run('mknod', join(dir, 'null'), 'c', '1', '3')
    }),
  canTrustedXattr: () =>
    inTempDir((dir) => {
      run('setfattr', '-n', 'trusted.overlay.opaque', '-v', 'y', dir)
    }),
  canChown: () =>
    inTempDir((dir) => {
      run('chown', '1234:5678', dir)
    }),
  /** Others than the owner can read the checkout: one below /root they can't. */
  othersMayRead: () => {
    const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups']
    run('setpriv', ...nobody, 'test', '-r', join(import.meta.dirname, '../../package.json'))
  },
  canUnshareMounts: tryTool('unshare', '-m', 'true'),
  canUserNamespace: tryTool('unshare', '-Ur', 'true'),
  canChroot: tryTool('chroot', '/', '/bin/true'),
  /** Loop devices, with the one file system every kernel here has. */
  canLoop: () => tryFileSystem('mkfs.ext4', '-q', '-F'),
  hasXfs: () => tryFileSystem('mkfs.xfs', '-q', '-f'),
  hasBtrfs: () => tryFileSystem('mkfs.btrfs', '-q', '-f'),
  /** A pool in a file. */
  hasZfs: () =>
    inTempDir((dir) => {
      const image = join(dir, 'image')
      writeFileSync(image, '')
      truncateSync(image, 320 * 1024 * 1024)
      const name = `overlaid-gate-${String(process.pid)}`
      run('zpool', 'create', '-o', 'cachefile=none', '-m', join(dir, 'm'), name, image)
      run('zpool', 'destroy', '-f', name)
    }),
  /** Project quotas of ext4 (CONFIG_QFMT_V2) and of XFS (CONFIG_XFS_QUOTA), which not every kernel is built with. */
  hasProjectQuota: () => {
    tryMounting('loop,prjquota', 'mkfs.ext4', '-q', '-F', '-O', 'quota,project', '-E', 'quotatype=prjquota')
    tryMounting('loop,prjquota', 'mkfs.xfs', '-q', '-f')
  },
  /** Thin pools of the device mapper, and the program that makes them. */
  hasThinPools: () =>
    inTempDir((dir) => {
      const loops = ['metadata', 'data'].map((name) => {
        const path = join(dir, name)
        writeFileSync(path, '')
        truncateSync(path, 4 * 1024 * 1024)
        return run('losetup', '--find', '--show', path).trim()
      })
      const name = `overlaid-gate-${String(process.pid)}`
      try {
        run('dmsetup', 'create', name, '--table', `0 8192 thin-pool ${loops.join(' ')} 128 0`)
        run('dmsetup', 'remove', '--retry', name)
      } finally {
        run('losetup', '--detach', ...loops)
      }
    }),
  hasSquashfs: () =>
    inTempDir((dir) => {
      mkdirSync(join(dir, 'empty'))
      run('mksquashfs', join(dir, 'empty'), join(dir, 'image'), '-quiet', '-no-progress')
      mountAndUnmount(dir, '-o', 'loop', join(dir, 'image'))
    }),
  hasVfat: () => tryFileSystem('mkfs.vfat'),
  /** fsopen(2): util-linux has no way to ask, so a syscall by number (430 on every architecture). */
  hasFsopen: tryTool(
    'python3',
    '-c',
    'import ctypes,sys; sys.exit(ctypes.CDLL(None).syscall(430,b"tmpfs",0) < 0)',
  ),
  /** fuse-overlayfs merges: the program, /dev/fuse, and the right to mount. */
  canFuse: () =>
    inTempDir((dir) => {
      for (const name of ['lower', 'm']) mkdirSync(join(dir, name))
      run('fuse-overlayfs', '-o', `lowerdir=${join(dir, 'lower')}`, join(dir, 'm'))
      run('umount', join(dir, 'm'))
    }),
  hasDocker: tryTool('docker', '--version'),
  hasDockerd: tryTool('dockerd', '--version'),
  hasContainerd: tryTool('containerd', '--version'),
  hasCtr: tryTool('ctr', '--version'),
  hasRunc: tryTool('runc', '--version'),
  hasCrun: tryTool('crun', '--version'),
  hasUmoci: tryTool('umoci', '--version'),
  hasSkopeo: tryTool('skopeo', '--version'),
  hasRegistry: tryTool('docker-registry', '--version'),
  hasOpenssl: tryTool('openssl', 'version'),
  hasGnuTar: () => {
    if (!run('tar', '--version').includes('GNU tar')) throw new Error('tar is not GNU tar')
  },
  hasBsdtar: tryTool('bsdtar', '--version'),
  hasGo: tryTool('go', 'version'),
  hasPython: tryTool('python3', '--version'),
  hasMmdebstrap: tryTool('mmdebstrap', '--version'),
  hasAptGet: tryTool('apt-get', '--version'),
  hasStrace: tryTool('strace', '-o', '/dev/null', 'true'),
} as const satisfies Record<string, () => void>

export type Gate = keyof typeof attempts

/** All gates' names, for the test that prints them. */
export const GATES: readonly Gate[] = Object.keys(attempts) as Gate[]

const required = process.env['CI'] === 'true' || process.env['REQUIRE_KERNEL_TESTS'] === '1'
const reasons = new Map<Gate, string | undefined>()

/** Why the gate is closed, undefined where it is open. Tried once a process. */
export function closedBecause(gate: Gate): string | undefined {
  if (!reasons.has(gate)) reasons.set(gate, attempt(gate))
  return reasons.get(gate)
}

function attempt(gate: Gate): string | undefined {
  try {
    attempts[gate]()
    return undefined
  } catch (error) {
    const stderr = (error as { stderr?: string }).stderr?.trim() ?? ''
    return stderr === '' ? (error as Error).message : stderr
  }
}

/** Whether any of the gates is closed, for `skipIf`; says so on stderr. @throws in CI, where none may be. */
export function missing(...gates: readonly Gate[]): boolean {
  const closed = gates.filter((gate) => closedBecause(gate) !== undefined)
  const lines = closed.map((gate) => `gate ${gate} is closed: ${closedBecause(gate) ?? ''}`)
  if (closed.length > 0 && required) throw new Error(lines.join('\n'))
  for (const line of lines) process.stderr.write(`skipping: ${line}\n`)
  return closed.length > 0
}

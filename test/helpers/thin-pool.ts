/**
 * Data roots as Docker's devicemapper left them, made of a store's own, to moby's
 * daemon/graphdriver/devmapper/deviceset.go: a pool in two sparse files, the base device with an empty file system,
 * and a snapshot of its parent for each layer.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Store } from '../../lib/store/store.ts'
import { copyRecords, layersOf, unpackOnto } from './old-root.ts'
import { MIB } from './sizes.ts'

export type ThinFileSystem = 'ext4' | 'xfs'

/** mkfs.xfs makes none below 300 MiB, and writes its log of 64. */
const SIZES = {
  ext4: { data: 64 * MIB, device: 32 * MIB },
  xfs: { data: 160 * MIB, device: 320 * MIB },
}

const MKFS = {
  ext4: ['mkfs.ext4', '-q', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0'],
  xfs: ['mkfs.xfs', '-q', '-K'],
}

/** Without udev, whose rules dmsetup would wait for. */
const ENV = { ...process.env, DM_DISABLE_UDEV: '1' }

export function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', env: ENV }).trim()
}

/** The names of all mapped devices. */
export function mappedDevices(): string[] {
  const lines = run('dmsetup', 'ls').split('\n')
  return lines.filter((line) => line !== 'No devices found').map((line) => line.split('\t')[0] ?? '')
}

/** All loop devices with their files. */
export function loops(): string {
  return run('losetup', '-n', '-O', 'NAME,BACK-FILE')
}

/** Docker's pool while it is active; disposed as by dockerd when it ends. */
export class DockerPool implements Disposable {
  readonly name: string
  readonly #home: string
  readonly #loops: readonly string[]
  #transaction = 0

  constructor(root: string) {
    this.#home = join(root, 'devicemapper')
    const { dev, ino } = statSync(this.#home)
    // Numbers below 256 each.
    this.name = `docker-${String(dev >> 8)}:${String(dev & 0xff)}-${String(ino)}`
    this.#loops = ['metadata', 'data'].map((file) => run('losetup', '-f', '--show', this.#file(file)))
    const sectors = statSync(this.#file('data')).size / 512
    const table = `0 ${String(sectors)} thin-pool ${this.#loops.join(' ')} 128 32768 1 skip_block_zeroing`
    run('dmsetup', 'create', `${this.name}-pool`, '--table', table)
  }

  #file(name: string): string {
    return join(this.#home, 'devicemapper', name)
  }

  message(text: string): void {
    run('dmsetup', 'message', `${this.name}-pool`, '0', text)
  }

  /** Makes a device by `message`, has `work` done on it, and notes it as `id`. */
  addDevice(id: string, device: number, size: number, message: string, work: (path: string) => void): void {
    this.message(message)
    this.message(`set_transaction_id ${String(this.#transaction)} ${String(++this.#transaction)}`)
    const name = `${this.name}-${id === '' ? 'base' : id}`
    const table = `0 ${String(size / 512)} thin /dev/mapper/${this.name}-pool ${String(device)}`
    run('dmsetup', 'create', name, '--table', table)
    work(`/dev/mapper/${name}`)
    run('dmsetup', 'remove', name)
    const record = {
      device_id: device,
      size,
      transaction_id: this.#transaction,
      initialized: id === '',
      deleted: false,
    }
    writeFileSync(join(this.#home, 'metadata', id === '' ? 'base' : id), JSON.stringify(record), {
      mode: 0o600,
    })
  }

  [Symbol.dispose](): void {
    run('dmsetup', 'remove', `${this.name}-pool`)
    run('losetup', '-d', ...this.#loops)
  }
}

/** Writes all that `store` has into the data root `root`; its devices are numbered from 1, the base's, on. */
export async function writeThinRoot(store: Store, root: string, kind: ThinFileSystem): Promise<void> {
  copyRecords(store, root, 'devicemapper')
  const home = join(root, 'devicemapper')
  for (const name of ['devicemapper', 'metadata', 'mnt'])
    mkdirSync(join(home, name), { recursive: true, mode: 0o700 })
  const { data, device: size } = SIZES[kind]
  for (const [name, bytes] of [
    ['data', data],
    ['metadata', 4 * MIB],
  ] as const) {
    writeFileSync(join(home, 'devicemapper', name), '', { mode: 0o600 })
    truncateSync(join(home, 'devicemapper', name), bytes)
  }
  using pool = new DockerPool(root)
  const [mkfs = '', ...options] = MKFS[kind]
  pool.addDevice('', 1, size, 'create_thin 1', (path) => void run(mkfs, ...options, path))
  const numbers = new Map<string | undefined, number>([[undefined, 1]])
  for (const {
    id,
    parents: [parent],
    tar,
  } of await layersOf(store)) {
    const device = numbers.size + 1
    const message = `create_snap ${String(device)} ${String(numbers.get(parent))}`
    pool.addDevice(id, device, size, message, (path) => addLayer(path, join(home, 'mnt', id), id, kind, tar))
    numbers.set(id, device)
  }
  const set = { next_device_id: numbers.size + 1, BaseDeviceUUID: '', BaseDeviceFilesystem: kind }
  writeFileSync(join(home, 'metadata/deviceset-metadata'), JSON.stringify(set), { mode: 0o600 })
}

/** As Docker's Get makes the folder, and its ApplyDiff the content. */
function addLayer(device: string, mnt: string, id: string, kind: ThinFileSystem, tar: Buffer): void {
  mkdirSync(mnt, { mode: 0o755 })
  run('mount', '-o', kind === 'xfs' ? 'nouuid' : 'discard', device, mnt)
  try {
    const rootfs = join(mnt, 'rootfs')
    mkdirSync(rootfs, { recursive: true, mode: 0o755 })
    writeFileSync(join(mnt, 'id'), id, { mode: 0o600 })
    unpackOnto(rootfs, tar)
  } finally {
    run('umount', mnt)
  }
}

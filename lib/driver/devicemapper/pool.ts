/**
 * The layers that Docker's devicemapper left: each is a file system on a thin device, in one pool whose files are
 *
 *     devicemapper/devicemapper/data       blocks of all devices, sparse
 *     devicemapper/devicemapper/metadata   which device has which block where
 *     devicemapper/metadata/<id>           the number and the size of the layer's device
 *
 * and the layer's tree is the folder `rootfs` on it. With dm.thinpooldev the pool is a volume of LVM's instead, whose
 * name Docker got by its options and did not note.
 *
 * Nothing of it is written to: the files are behind read-only loop devices, the pool is told `read_only` and then
 * does without its transactions, devices and mounts are read-only, and journals are left alone. The pool itself is a
 * writable device, as the kernel wants it.
 */
import { constants, existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { Undo } from '../../fs/undo.ts'
import { AT_FDCWD, binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import type { LayerFolders, LayerTree } from '../foreign.ts'
import { mountReadOnly } from './file-system.ts'
import { attachLoop, writingLoop } from './loop.ts'
import { type MappedDevice, Mapper, SAVE_THERE } from './mapper.ts'
import { readDeviceRecord } from './record.ts'
import { type PoolLayout, readSuperblock, REPAIR } from './superblock.ts'

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

export class ThinPool implements LayerFolders {
  readonly #home: string
  readonly #mapper: Mapper
  readonly #pool: MappedDevice
  readonly #undo: Undo

  private constructor(home: string, mapper: Mapper, pool: MappedDevice, undo: Undo) {
    this.#home = home
    this.#mapper = mapper
    this.#pool = pool
    this.#undo = undo
  }

  /**
   * @param home the driver's folder
   * @throws ERR_UNSUPPORTED_KERNEL, ERR_INVALID_ARGUMENT without the files, ERR_STORE_LOCKED in use, ERR_DAMAGED
   */
  static async open(home: string): Promise<ThinPool> {
    const [data, metadata] = poolFiles(home)
    await using undo = new Undo()
    const mapper = undo.add(await Mapper.open())
    await refuseIfActive(home, mapper, [data, metadata])
    const layout = readSuperblock(metadata)
    refuseIfShort(data, layout.dataSectors * 512)
    refuseIfShort(metadata, layout.metadataBytes)
    const metadataLoop = undo.add(await attachLoop(metadata, layout.metadataBytes))
    const dataLoop = undo.add(await attachLoop(data, layout.dataSectors * 512))
    const pool = undo.add(await activate(mapper, metadata, layout, [metadataLoop.number, dataLoop.number]))
    return new ThinPool(home, mapper, pool, undo.keep())
  }

  async open(id: string): Promise<LayerTree> {
    const { deviceID, sectors } = readDeviceRecord(this.#home, id)
    await using undo = new Undo()
    const parameters = `${this.#pool.number} ${String(deviceID)}`
    const target = { type: 'thin', sectors, parameters, readOnly: true }
    const device = undo.add(await this.#mapper.create('thin', target).catch(notInPool(id, deviceID)))
    const mount = await mountReadOnly(device.fd, `the device of layer ${id}`)
    undo.add({ [Symbol.asyncDispose]: () => mount.closeAsync() })
    const fd = undo.add(await openRootfs(mount, id))
    const kept = undo.keep()
    return { fd, [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose]() }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#undo[Symbol.asyncDispose]()
  }
}

function poolFiles(home: string): [data: string, metadata: string] {
  const data = join(home, 'devicemapper/data')
  const metadata = join(home, 'devicemapper/metadata')
  if (existsSync(data) && existsSync(metadata)) return [data, metadata]
  throw new OverlaidError(
    'ERR_INVALID_ARGUMENT',
    `the pool of ${home} is not in the files devicemapper/data and devicemapper/metadata: it is a volume of LVM's ` +
      '(direct-lvm), which cannot be migrated',
    { path: data, hint: SAVE_THERE },
  )
}

/** Two pools on the same files would not know of each other's changes. */
async function refuseIfActive(home: string, mapper: Mapper, files: readonly string[]): Promise<void> {
  const { devMajor, devMinor, ino } = await binding.statx(AT_FDCWD, home, 0)
  const prefix = `docker-${String(devMajor)}:${String(devMinor)}-${String(ino)}-`
  const active = (await mapper.names()).find((name) => name.startsWith(prefix))
  if (active !== undefined)
    throw inUse(home, `the mapped device ${active} is active`, `dmsetup remove ${active}`)
  for (const path of files) {
    const loop = await writingLoop(path)
    if (loop !== undefined)
      throw inUse(home, `${path} is attached to /dev/${loop}`, `losetup -d /dev/${loop}`)
  }
}

function inUse(home: string, why: string, cure: string): OverlaidError {
  return new OverlaidError('ERR_STORE_LOCKED', `the thin pool of ${home} is in use: ${why}`, {
    path: home,
    hint: `stop dockerd, which ends that; if it was killed: ${cure}`,
  })
}

function refuseIfShort(path: string, bytes: number): void {
  const { size } = statSync(path)
  if (size >= bytes) return
  throw new OverlaidError('ERR_DAMAGED', `${path} has ${String(size)} of the pool's ${String(bytes)} bytes`, {
    path,
  })
}

/** Low water is nothing to a pool that does not grow. */
async function activate(
  mapper: Mapper,
  path: string,
  { dataSectors, blockSectors }: PoolLayout,
  loops: readonly string[],
): Promise<MappedDevice> {
  const parameters = `${loops.join(' ')} ${String(blockSectors)} 0 1 read_only`
  const target = { type: 'thin-pool', sectors: dataSectors, parameters }
  await using undo = new Undo()
  const pool = undo.add(await mapper.create('pool', target).catch(unreadable(path)))
  const status = await pool.status()
  // Documentation/admin-guide/device-mapper/thin-provisioning.rst; "Fail" is all that a broken one says.
  if (!status.split(' ').includes('ro')) {
    throw new OverlaidError('ERR_DAMAGED', `the thin pool of ${path} cannot be read: ${status}`, {
      path,
      hint: REPAIR,
    })
  }
  undo.keep()
  return pool
}

/** A wrong sum is EILSEQ, a block that cannot be EIO, and so on: the kernel's log has words for it. */
function unreadable(path: string): (error: unknown) => never {
  return (cause) => {
    if (!hasCode(cause, 'EILSEQ', 'EINVAL', 'EIO', 'ENODATA', 'ENOTBLK', 'EBADMSG')) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    const text = `the kernel cannot read the thin pool of ${path}: ${reason}`
    throw new OverlaidError('ERR_DAMAGED', text, { path, hint: `dmesg says what is wrong; ${REPAIR}`, cause })
  }
}

function notInPool(id: string, deviceID: number): (error: unknown) => never {
  return (cause) => {
    if (!hasCode(cause, 'ENODATA', 'EINVAL')) throw cause
    const text = `the pool has no device ${String(deviceID)}, which layer ${id} is on`
    throw new OverlaidError('ERR_DAMAGED', text, { cause })
  }
}

async function openRootfs(mount: OwnedFd, id: string): Promise<OwnedFd> {
  try {
    return new OwnedFd(await binding.openat(mount.fd, 'rootfs', FOLDER, 0))
  } catch (cause) {
    if (!hasCode(cause, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw cause
    throw new OverlaidError('ERR_DAMAGED', `the device of layer ${id} has no folder rootfs`, { cause })
  }
}

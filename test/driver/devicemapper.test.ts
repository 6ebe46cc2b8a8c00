/** What devicemapper left in files; the pool itself: test/thin. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { attachLoop, writingLoop } from '../../lib/driver/devicemapper/loop.ts'
import { readDeviceRecord } from '../../lib/driver/devicemapper/record.ts'
import { readSuperblock } from '../../lib/driver/devicemapper/superblock.ts'
import { missing } from '../helpers/gates.ts'
import { loopsBelow } from '../helpers/mounts.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'

let dir: TempDir
beforeEach(() => {
  dir = tempDir()
})
afterEach(() => dir[Symbol.dispose]())

describe('readDeviceRecord', () => {
  const ID = 'a'.repeat(64)
  const written = (text: string): string => {
    mkdirSync(join(dir.path, 'metadata'))
    writeFileSync(join(dir.path, 'metadata', ID), text)
    return dir.path
  }

  it('reads what Docker wrote', () => {
    const text = '{"device_id":7,"size":10737418240,"transaction_id":12,"initialized":false,"deleted":false}'
    expect(readDeviceRecord(written(text), ID)).toEqual({ deviceID: 7, sectors: 20971520 })
  })

  it('reads a record of before deferred deletion', () => {
    const text = '{"device_id":7,"size":512,"transaction_id":12,"initialized":true}'
    expect(readDeviceRecord(written(text), ID)).toEqual({ deviceID: 7, sectors: 1 })
  })

  it.each([
    ['no JSON', '{"device_id":7,'],
    ['nothing', ''],
    ['without a size', '{"device_id":7}'],
    ['of a number that no pool has', '{"device_id":16777216,"size":512}'],
    ['of a number with more to it', '{"device_id":"7 0 1","size":512}'],
    ['of a size below one sector', '{"device_id":7,"size":511}'],
    ['of a fraction', '{"device_id":7,"size":512.5}'],
    ['given twice', '{"device_id":7,"device_id":8,"size":512}'],
    ['of a deleted device', '{"device_id":7,"size":512,"deleted":true}'],
  ])('refuses a record that is %s', (_what, text) => {
    const damaged = { code: 'ERR_DAMAGED', path: join(dir.path, 'metadata', ID) }
    const home = written(text)
    expect(() => readDeviceRecord(home, ID)).toThrow(expect.objectContaining(damaged) as Error)
  })

  it('says that there is none', () => {
    expect(() => readDeviceRecord(dir.path, ID)).toThrow(
      expect.objectContaining({ code: 'ERR_DAMAGED' }) as Error,
    )
  })
})

describe('readSuperblock', () => {
  /** As of dm-thin-metadata.c: flags, magic, the two space maps' numbers of blocks, sectors of a block. */
  const superblock = ({
    flags = 0,
    magic = 27022010n,
    data = 1024n,
    metadata = 1024n,
    sectors = 128,
  } = {}): Buffer => {
    const block = Buffer.alloc(4096)
    block.writeUInt32LE(flags, 4)
    block.writeBigUInt64LE(magic, 32)
    block.writeBigUInt64LE(data, 64)
    block.writeBigUInt64LE(metadata, 192)
    block.writeUInt32LE(sectors, 336)
    return block
  }
  const written = (bytes: Buffer): string => {
    const path = join(dir.path, 'metadata')
    writeFileSync(path, bytes)
    return path
  }

  it('tells the sizes that the pool knows of', () => {
    const layout = { metadataBytes: 4 * 1024 * 1024, dataSectors: 131072, blockSectors: 128 }
    expect(readSuperblock(written(superblock()))).toEqual(layout)
  })

  it.each([
    ['an empty file', Buffer.alloc(0), 'is not the metadata'],
    ['zeroes', Buffer.alloc(4096), 'is not the metadata'],
    ['a cut one', superblock().subarray(0, 300), 'is not the metadata'],
    ['one to be checked', superblock({ flags: 1 }), 'marked as to be checked'],
    ['no data', superblock({ data: 0n }), 'impossible sizes'],
    ['more than there can be', superblock({ data: 0xffff_ffff_ffffn }), 'impossible sizes'],
    ['no block size', superblock({ sectors: 0 }), 'impossible sizes'],
  ])('refuses %s', (_what, bytes, message) => {
    const path = written(bytes)
    const damaged = { code: 'ERR_DAMAGED', path, message: expect.stringContaining(message) as string }
    expect(() => readSuperblock(path)).toThrow(expect.objectContaining(damaged) as Error)
  })
})

describe.skipIf(missing('hasBinding', 'canLoop'))('loop devices', () => {
  const image = (): string => {
    const path = join(dir.path, 'image')
    writeFileSync(path, Buffer.alloc(64 * 1024, 'overlaid'))
    utimesSync(path, 1, 1)
    return path
  }

  it('show so much of the file as asked, cannot be written to, and go when they are closed', async () => {
    const path = image()
    {
      using loop = await attachLoop(path, 32 * 1024)
      const device = `/dev/loop${loop.number.replace('7:', '')}`
      expect(readFileSync(device)).toEqual(readFileSync(path).subarray(0, 32 * 1024))
      expect(() => writeFileSync(device, 'x', { flag: 'r+' })).toThrow(/EPERM|EACCES/)
      expect(loopsBelow(dir.path)).toHaveLength(1)
    }
    expect(loopsBelow(dir.path)).toEqual([])
  })

  it('leave the file’s access time as it was', async () => {
    const path = image()
    {
      using loop = await attachLoop(path, 32 * 1024)
      readFileSync(`/dev/loop${loop.number.replace('7:', '')}`)
    }
    expect(statSync(path).atimeMs).toBe(1000)
  })

  it('are found by the file they may write to', async () => {
    const path = image()
    expect(await writingLoop(path)).toBeUndefined()
    const device = execFileSync('losetup', ['-f', '--show', path], { encoding: 'utf8' }).trim()
    try {
      expect(await writingLoop(path)).toBe(device.replace('/dev/', ''))
    } finally {
      execFileSync('losetup', ['-d', device])
    }
    using reading = await attachLoop(path, 32 * 1024)
    expect(reading.number).toMatch(/^7:\d+$/)
    expect(await writingLoop(path)).toBeUndefined()
  })
})

/** What is removed, from its rename until its last file is gone; and what is made without a lock. */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { binding } from '../../lib/native/binding.ts'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'

const ID = 'a'.repeat(64)

describe.skipIf(missing('hasBinding', 'canMount'))('the trash', () => {
  let disk: LoopFileSystem
  let driver: Overlay2Driver
  watchLeaks(() => [disk.dir])
  beforeEach(async () => {
    disk = loopFileSystem('ext4')
    driver = openOverlay2(join(disk.dir, 'overlay2'), { durability: 'none' })
    await driver.create(ID, undefined)
    writeFileSync(join(driver.home, ID, 'diff/file'), 'content')
  })
  afterEach(() => disk[Symbol.dispose]())

  const inTrash = () => readdirSync(join(driver.home, 'trash'))

  it('has what was removed until its deletion is begun, and nothing when that is waited for', async () => {
    await driver.remove(ID)
    expect(inTrash()).toHaveLength(1)
    await driver.idle()
    expect(inTrash()).toHaveLength(1)
    driver.emptyTrashSoon()
    await driver.idle()
    expect(inTrash()).toEqual([])
  })

  it('is emptied of what is added while it is being emptied', async () => {
    for (let i = 0; i < 20; i++) {
      await driver.create(`${String(i)}-child`, ID)
      await driver.remove(`${String(i)}-child`)
      driver.emptyTrashSoon()
    }
    await driver.cleanup()
    expect(inTrash()).toEqual([])
    expect(await driver.list()).toEqual([ID])
  })

  it('tells once what could not be deleted, deletes the rest, and tries again', async () => {
    await driver.create('other', undefined)
    const file = join(driver.home, ID, 'diff/file')
    execFileSync('chattr', ['+i', file])
    for (const id of [ID, 'other']) await driver.remove(id)
    driver.emptyTrashSoon()
    await expect(driver.idle()).rejects.toMatchObject({ code: 'EPERM' })
    await driver.idle()
    const [left = '', ...others] = inTrash()
    expect(others).toEqual([])
    await expect(driver.emptyTrash()).rejects.toMatchObject({ code: 'EPERM' })
    execFileSync('chattr', ['-i', join(driver.home, 'trash', left, 'diff/file')])
    expect(await driver.emptyTrash()).toBeGreaterThan(0)
    expect(inTrash()).toEqual([])
  })

  it('leaves to another process what that is deleting', async () => {
    await driver.remove(ID)
    const [name = ''] = inTrash()
    const other = openSync(join(driver.home, 'trash', name), 'r')
    try {
      expect(await binding.flock(other, 'write')).toBe(true)
      await driver.emptyTrash()
      expect(inTrash()).toEqual([name])
    } finally {
      closeSync(other)
    }
    await driver.emptyTrash()
    expect(inTrash()).toEqual([])
  })

  it('takes an unlocked staging folder whole or leaves it, while layers are made', async () => {
    let isMaking = true
    // With syncs, so that there is time to come between.
    const maker = openOverlay2(driver.home, { durability: 'full' })
    const making = (async () => {
      for (let i = 0; i < 20; i++) await maker.create(`made-${String(i)}`, ID)
    })().finally(() => (isMaking = false))
    const gone = join(driver.home, 'staging', 'gone.new')
    mkdirSync(join(gone, 'diff'), { recursive: true })
    while (isMaking) {
      for (const { kind, repair } of await driver.check(new Map([[ID, undefined]]))) {
        if (kind === 'stale-staging') await repair?.()
      }
      await pause(20)
    }
    await making
    expect(existsSync(gone)).toBe(false)
    expect(readdirSync(join(driver.home, 'staging'))).toEqual([])
    for (const id of await driver.list()) {
      if (id !== ID)
        expect(readdirSync(join(driver.home, id)).sort()).toEqual(['diff', 'link', 'lower', 'work'])
    }
  })
})

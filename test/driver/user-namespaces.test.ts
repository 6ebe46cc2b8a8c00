/** User namespaces that are kept: the right one each time, not too many, and none after the driver is idle. */
import { execFileSync } from 'node:child_process'
import { lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { IDMap } from '../../lib/driver/id-map.ts'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { MAX_KEPT, UserNamespaces } from '../../lib/driver/overlay2/user-namespaces.ts'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'

/** Root inside is `host` outside. */
function mapTo(host: number, gid = host): IDMap {
  const ranges = (first: number) => [{ container: 0, host: first, size: 1000 }]
  return { uid: ranges(host), gid: ranges(gid) }
}

/** The namespaces that this process has open, by what names them. */
function openOnes(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith('user:[') ? [target] : []
    } catch {
      // ENOENT: the descriptor that read the folder.
      return []
    }
  })
}

const nameOf = (fd: number): Promise<string> => Promise.resolve(readlinkSync(`/proc/self/fd/${String(fd)}`))

/** What a process in it sees as its maps. */
function mapsIn(fd: number): Promise<string[]> {
  const enter = [`--user=/proc/${String(process.pid)}/fd/${String(fd)}`, '--setuid=0', '--setgid=0']
  const maps = ['/proc/self/uid_map', '/proc/self/gid_map']
  const text = execFileSync('nsenter', [...enter, 'cat', ...maps], { encoding: 'utf8' })
  return Promise.resolve(
    text
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).join(' ')),
  )
}

describe.skipIf(missing('hasBinding', 'canUserNamespace'))('kept user namespaces', () => {
  const namespaces = new UserNamespaces()
  afterEach(async () => {
    await namespaces.release()
    expect(openOnes()).toEqual([])
  })

  it('are one for each map, with that map', async () => {
    const maps = [mapTo(100_000), mapTo(200_000), mapTo(100_000, 300_000)]
    const names = await Promise.all(maps.map((map) => namespaces.use(map, nameOf)))
    expect(new Set(names).size).toBe(3)
    expect(await Promise.all(maps.map((map) => namespaces.use(map, nameOf)))).toEqual(names)
    for (const map of maps) {
      const expected = [map.uid, map.gid].map(([range]) => `0 ${String(range?.host)} 1000`)
      expect(await namespaces.use(map, mapsIn)).toEqual(expected)
    }
    expect(openOnes().sort()).toEqual(names.sort())
  })

  it('are made once for those who ask at the same time', async () => {
    const names = await Promise.all(Array.from({ length: 20 }, () => namespaces.use(mapTo(100_000), nameOf)))
    expect(new Set(names).size).toBe(1)
    expect(openOnes()).toHaveLength(1)
  })

  it('are closed when there are many, last those that were used last and never one in use', async () => {
    const maps = Array.from({ length: MAX_KEPT + 8 }, (_, i) => mapTo(100_000 + i * 1000))
    const [first = mapTo(1)] = maps
    await namespaces.use(first, async (fd) => {
      const before = await nameOf(fd)
      for (const map of maps.slice(1)) await namespaces.use(map, nameOf)
      await namespaces.release()
      expect(await nameOf(fd)).toBe(before)
      expect(openOnes()).toEqual([before])
    })
    const names: string[] = []
    for (const map of maps) names.push(await namespaces.use(map, nameOf))
    expect(openOnes().sort()).toEqual(names.slice(-MAX_KEPT).sort())
  })

  it('that could not be made are tried again', async () => {
    const bad: IDMap = { uid: [{ container: 0, host: 0, size: 0 }], gid: mapTo(0).gid }
    const tries = [namespaces.use(bad, nameOf), namespaces.use(bad, nameOf)]
    for (const result of await Promise.allSettled(tries)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'EINVAL', syscall: 'write' } })
    }
    await expect(namespaces.use(bad, nameOf)).rejects.toMatchObject({ code: 'EINVAL' })
    expect(openOnes()).toEqual([])
  })

  it('stay when what they were used for fails', async () => {
    const name = await namespaces.use(mapTo(100_000), nameOf)
    const failing = namespaces.use(mapTo(100_000), () => Promise.reject(new Error('mine')))
    await expect(failing).rejects.toThrow('mine')
    expect(await namespaces.use(mapTo(100_000), nameOf)).toBe(name)
  })
})

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'canUserNamespace'))(
  'mounts with kept namespaces',
  () => {
    it('have each the ids of its own map, in turns and at once, and the driver keeps none after', async () => {
      using fs = loopFileSystem('ext4')
      const driver = openOverlay2(join(fs.dir, 'overlay2'), { durability: 'none' })
      await driver.prepare()
      await driver.create('base', undefined)
      await driver.create('mid', 'base')
      const hosts = [100_000, 200_000, 100_000, 300_000]
      for (const [i, host] of hosts.entries()) {
        await driver.createReadWrite(`top-${String(i)}`, 'mid', { idMap: mapTo(host, host + 7) })
      }
      const owners = async (i: number): Promise<number[]> => {
        const { uid, gid } = lstatSync(join(await driver.get(`top-${String(i)}`), '.'))
        await driver.put(`top-${String(i)}`)
        return [uid, gid]
      }
      const expected = hosts.map((host) => [host, host + 7])
      for (let round = 0; round < 3; round++) {
        for (const i of hosts.keys()) expect(await owners(i)).toEqual(expected[i])
        expect(await Promise.all([...hosts.keys()].map(owners))).toEqual(expected)
      }
      expect(openOnes()).toHaveLength(3)
      await driver.cleanup()
      expect(openOnes()).toEqual([])
    })
  },
)

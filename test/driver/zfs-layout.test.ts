/** Names of datasets, and which of those that were set aside can go. */
import { describe, expect, it } from 'vitest'
import { isPlainID } from '../../lib/driver/home/home.ts'
import type { Dataset } from '../../lib/driver/zfs/datasets.ts'
import {
  expectName,
  layerName,
  looseName,
  parseLoose,
  parseSnapshot,
  snapshotName,
} from '../../lib/driver/zfs/layout.ts'
import { disposable, newTrashName, replacedDatasets, replacedID } from '../../lib/driver/zfs/trash.ts'
import { ID } from '../../lib/driver-suite/cases.ts'

const PLACE = { dataset: 'pool/docker', owner: 42 }
const OTHER = { ...PLACE, owner: 7 }
const dataset = (name: string, origin?: string): Dataset => ({ name, origin, used: 1 })
const trash = (name: string) => looseName(PLACE, 'trash', name)
const names = (datasets: readonly Dataset[]): string[] => datasets.map(({ name }) => name)

describe('the names of datasets', () => {
  it("are moby's for layers", () => {
    expect(layerName(PLACE, ID('a'))).toBe(`pool/docker/${ID('a')}`)
    expect(layerName(PLACE, `${ID('a')}-init`)).toBe(`pool/docker/${ID('a')}-init`)
  })

  it('are no id where there is none, and say whose they are', () => {
    const name = looseName(PLACE, 'staging', 'abc:tree')
    expect(name).toBe('pool/docker/overlaid:42:staging:abc:tree')
    expect(isPlainID(name.slice('pool/docker/'.length))).toBe(false)
    expect(parseLoose(PLACE, name)).toEqual({ owner: 42, kind: 'staging', rest: 'abc:tree' })
    expect(parseLoose(PLACE, layerName(PLACE, ID('a')))).toBeUndefined()
    expect(expectName(name)).toBe(name)
  })

  it('of snapshots say which staging folder made them; those of others say nothing', () => {
    const name = snapshotName(PLACE, ID('a'), 'abc')
    expect(expectName(name)).toBe(name)
    expect(parseSnapshot(PLACE, name)).toBe('abc')
    expect(parseSnapshot(OTHER, name)).toBeUndefined()
    // moby's, and one of an administrator's.
    expect(parseSnapshot(PLACE, `pool/docker/${ID('a')}@123456789`)).toBeUndefined()
    expect(parseSnapshot(PLACE, `pool/docker/${ID('a')}@daily`)).toBeUndefined()
  })
})

describe('the trash of datasets', () => {
  it('has none that another is a clone of, none that is a layer, none of another home', () => {
    const [below, free] = [trash('1'), trash('2')]
    const all = [
      dataset(below),
      dataset(free, 'pool/docker/base@x'),
      dataset(layerName(PLACE, ID('a')), `${below}@overlaid:42:x`),
      dataset(looseName(OTHER, 'trash', '3')),
      dataset(looseName(PLACE, 'staging', 'abc:tree')),
    ]
    expect(names(disposable(PLACE, all))).toEqual([free])
    expect(names(disposable(PLACE, all.slice(0, 2)))).toEqual([below, free])
  })

  it('has what was replaced once the new one is there', () => {
    const name = looseName(PLACE, 'replaced', `0badcafe:${ID('a')}`)
    expect(replacedID(PLACE, name)).toBe(ID('a'))
    expect(replacedID(OTHER, name)).toBeUndefined()
    expect(replacedID(PLACE, newTrashName(PLACE))).toBeUndefined()
    const alone = [dataset(name)]
    const both = [...alone, dataset(layerName(PLACE, ID('a')))]
    expect(names(replacedDatasets(PLACE, alone, false))).toEqual([name])
    expect(names(replacedDatasets(PLACE, both, true))).toEqual([name])
    expect([...replacedDatasets(PLACE, alone, true), ...replacedDatasets(PLACE, both, false)]).toEqual([])
    expect(disposable(PLACE, both)).toEqual([])
  })
})

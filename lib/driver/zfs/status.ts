/** What `info` shows of the pool, as moby's driver does. */
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { hasCode } from '../../errors.ts'
import { readProperties } from './datasets.ts'
import { datasetOf } from './place.ts'

export async function zfsStatus(home: string): Promise<readonly (readonly [string, string])[]> {
  const dataset = await datasetOf(dirname(home))
  const [pool = ''] = dataset.split('/')
  const facts = await readProperties(dataset, 'used', 'available', 'quota', 'compression')
  return [
    ['Zpool', pool],
    ['Zpool Health', healthOf(pool)],
    ['Parent Dataset', dataset],
    ['Space Used By Parent', facts.used],
    ['Space Available', facts.available],
    ['Parent Quota', facts.quota === '0' ? 'no' : facts.quota],
    ['Compression', facts.compression],
    ['Backing Filesystem', 'zfs'],
  ]
}

/** As zpool(8) says it, without starting that. */
function healthOf(pool: string): string {
  try {
    return readFileSync(`/proc/spl/kstat/zfs/${pool}/state`, 'latin1').trim()
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EACCES')) return 'not available'
    throw error
  }
}

/**
 * A task of a benchmark that uses the library in a process that runs already:
 *
 *     node <task>.mjs ROOT PARAMETERS
 *
 * ROOT is the tree whose build is used, PARAMETERS a JSON object; the result is printed as JSON. Through the package's
 * public names alone, so that another tree's build can be measured by the same task.
 */
import { join } from 'node:path'

/** @typedef {typeof import('../../../lib/index.ts')} Overlaid */

/**
 * @template P
 * @param {(overlaid: Overlaid, parameters: P) => Promise<unknown>} work
 */
export async function task(work) {
  const [root = '', parameters = '{}'] = process.argv.slice(2)
  const overlaid = await import(join(root, 'dist/index.js'))
  process.stdout.write(JSON.stringify(await work(overlaid, JSON.parse(parameters))))
}

/**
 * A task on a store that is open before and closed after it.
 * @template {{ root: string, driver?: string, durability?: 'none' | 'full' }} P
 * @param {(store: import('../../../lib/index.ts').Store, parameters: P, overlaid: Overlaid) => Promise<unknown>} work
 */
export async function storeTask(work) {
  await task(async (overlaid, /** @type {P} */ parameters) => {
    const { root, driver, durability = 'none' } = parameters
    const store = await overlaid.Store.open(root, { durability, ...(driver !== undefined && { driver }) })
    try {
      return await work(store, parameters, overlaid)
    } finally {
      await store.close()
    }
  })
}

/** Milliseconds of a call. @param {() => Promise<unknown>} work @returns {Promise<number>} */
export async function timed(work) {
  const start = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - start) / 1e6
}

/** Nanoseconds of each of `count` calls. @param {number} count @param {() => Promise<unknown>} work */
export async function eachOf(count, work) {
  const each = []
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint()
    await work()
    each.push(Number(process.hrtime.bigint() - start))
  }
  return each
}

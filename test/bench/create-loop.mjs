/**
 * Lives of containers through the built library: created, mounted, unmounted, removed, as create-loop.c does it by the
 * bare system calls.
 *
 *     node create-loop.mjs driver ROOT PARENT COUNT              one after the other, at the driver
 *     node create-loop.mjs store ROOT IMAGE COUNT                at the store, with the init layer and all records
 *     node create-loop.mjs callers ROOT PARENT COUNT LIMIT       all at once at the driver, LIMIT mounts in flight
 *
 * Durability `none`. Prints the mean nanoseconds of one life, deletion included; `callers` also prints the
 * nanoseconds of each mount and unmount from when it left the queue, one a line.
 */
import { join } from 'node:path'

const [level, root = '', base = '', count = '1', limit = '4'] = process.argv.slice(2)
/** JavaScript that is not compiled yet is not what is measured. */
const WARM_UP = 300

const dist = join(import.meta.dirname, '../../dist')
/** @type {typeof import('../../lib/index.ts')} */
const { Store } = await import(join(dist, 'index.js'))
/** @type {typeof import('../../lib/native/gate.ts')} */
const { mountGate } = await import(join(dist, 'native/gate.js'))

const store = await Store.open(root, { durability: 'none' })
const { driver } = store
let made = 0

async function liveAtDriver() {
  const id = `${String(process.pid)}-${String(made++)}`
  await driver.createReadWrite(id, base)
  await driver.get(id)
  await driver.put(id)
  await driver.remove(id)
  driver.emptyTrashSoon()
}

async function liveAtStore() {
  const container = await store.containers.create(base)
  const mount = await container.mount()
  await mount.unmount()
  await container.remove()
}

const live = level === 'store' ? liveAtStore : liveAtDriver
for (let i = 0; i < WARM_UP; i++) await live()
await driver.idle()

/** @type {bigint[]} */
const times = []
if (level === 'callers') {
  const run = mountGate.run.bind(mountGate)
  Object.assign(mountGate, {
    limit: Number(limit),
    /** @type {(turn: "begin" | "end", work: () => Promise<unknown>, signal?: AbortSignal) => Promise<unknown>} */
    run: (turn, work, signal) => {
      const timed = async () => {
        const start = process.hrtime.bigint()
        const result = await work()
        times.push(process.hrtime.bigint() - start)
        return result
      }
      return run(turn, timed, signal)
    },
  })
}

const start = process.hrtime.bigint()
if (level === 'callers') await Promise.all(Array.from({ length: Number(count) }, live))
else for (let i = 0; i < Number(count); i++) await live()
await driver.idle()
const mean = (process.hrtime.bigint() - start) / BigInt(count)
await store.close()
process.stdout.write(`${[mean, ...times].join('\n')}\n`)

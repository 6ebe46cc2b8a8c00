/**
 * Mounts and unmounts a container through the built library, as mount-loop.c does through the bare system calls.
 *
 *     node mount-loop.mjs store|driver ROOT CONTAINER COUNT
 *
 * store:  container.mount() and unmount(), with the record of who holds the mount.
 * driver: the driver alone.
 *
 * Prints the nanoseconds of each mount + unmount, one a line.
 */
import { join } from 'node:path'

const [level, root = '', name = '', count = '1'] = process.argv.slice(2)
/** @type {typeof import('../../lib/index.ts')} */
const { Store } = await import(join(import.meta.dirname, '../../dist/index.js'))

const store = await Store.open(root, { durability: 'full' })
const container = await store.containers.get(name)
const { upperdir } = await container.paths()
const id = upperdir.split('/').at(-2) ?? ''

async function once() {
  if (level === 'driver') {
    await store.driver.get(id)
    await store.driver.put(id)
    return
  }
  const mount = await container.mount()
  await mount.unmount()
}

const times = []
for (let i = 0; i < Number(count); i++) {
  const start = process.hrtime.bigint()
  await once()
  times.push(process.hrtime.bigint() - start)
}
await store.close()
process.stdout.write(`${times.join('\n')}\n`)

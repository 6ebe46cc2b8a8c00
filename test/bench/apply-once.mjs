/**
 * Loads an archive of one layer through the built library: blob to files, both digests and the tar-split record.
 *
 *     node apply-once.mjs ROOT FILE DURABILITY
 *
 * Prints the nanoseconds of the load: the store is open before, its files are on the file system after.
 */
import { join } from 'node:path'

const [root = '', file = '', durability] = process.argv.slice(2)
/** @type {typeof import('../../lib/index.ts')} */
const { Store } = await import(join(import.meta.dirname, '../../dist/index.js'))

const store = await Store.open(root, { durability: durability === 'none' ? 'none' : 'full' })
const start = process.hrtime.bigint()
await store.images.load(file)
process.stdout.write(`${String(process.hrtime.bigint() - start)}\n`)
await store.close()

/** The list of changes of the container `bench`, again and again: the ns of each, and the list as `docker diff` has it. */
import { storeTask } from './task.mjs'

await storeTask(
  async (store, /** @type {{ root: string, warmUp: number, count: number }} */ { warmUp, count }) => {
    const container = await store.containers.get('bench')
    /** @type {string[]} */
    let list = []
    /** @type {number[]} */
    const each = []
    for (let i = 0; i < warmUp + count; i++) {
      list = []
      const start = process.hrtime.bigint()
      for await (const { kind, path } of container.changes()) list.push(`${kind} ${path.toString()}`)
      each.push(Number(process.hrtime.bigint() - start))
    }
    return { list, each: each.slice(warmUp) }
  },
)

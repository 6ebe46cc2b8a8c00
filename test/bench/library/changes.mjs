/** The list of changes of the container `bench`, again and again: the ns of each, and the list as `docker diff` has it. */
import { eachOf, storeTask } from './task.mjs'

await storeTask(
  async (store, /** @type {{ root: string, warmUp: number, count: number }} */ { warmUp, count }) => {
    const container = await store.containers.get('bench')
    /** @type {string[]} */
    let list = []
    const each = await eachOf(warmUp + count, async () => {
      list = []
      for await (const { kind, path } of container.changes()) list.push(`${kind} ${path.toString()}`)
    })
    return { list, each: each.slice(warmUp) }
  },
)

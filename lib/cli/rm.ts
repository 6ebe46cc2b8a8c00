import type { Verb } from './verb.ts'

/** `overlaid rm` */
export const verb: Verb<[containers: string[]]> = {
  args: [['<container...>', 'by name or id']],
  examples: [
    ['rm web', 'the container and its changes'],
    [
      `rm $(overlaid --json ps | jq -r '.[] | select(.mounted | not) | .id')`,
      'every one that is not mounted',
    ],
  ],
  notes: 'Each is tried; the exit status is that of the first that could not be removed.',
  async run({ openStore, out, signal }, [names]) {
    await using store = await openStore('write')
    const deleted: string[] = []
    const failures: unknown[] = []
    for (const name of names) {
      if (signal.aborted) {
        failures.push(signal.reason)
        break
      }
      try {
        const container = await store.containers.get(name)
        await container.remove()
        deleted.push(container.id)
      } catch (error) {
        failures.push(error)
      }
    }
    await out.result({ deleted }, () => deleted)
    if (failures.length > 1)
      throw new AggregateError(failures, `${failures.length} containers were not removed`)
    if (failures.length === 1) throw failures[0]
  },
}

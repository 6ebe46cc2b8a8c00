import type { HistoryEntry } from '../oci/history.ts'
import { humanAge, humanSize, truncate } from './format.ts'
import type { Verb } from './verb.ts'

/** As docker cuts it; --json has it whole. */
const CREATED_BY_WIDTH = 45

/** One step as --json prints it, here and in inspect. */
export function historyStep({ created, createdBy, size, empty, comment }: HistoryEntry): object {
  return { created: created === '' ? null : created, createdBy, size, empty, comment }
}

/** `overlaid history` */
export const verb: Verb<[ref: string]> = {
  args: [['<ref>', 'an image, by name or id']],
  examples: [
    ['history alpine:3.20', 'how it was made, newest step first'],
    [`--json history alpine:3.20 | jq -r '.[].createdBy'`, 'the whole commands'],
  ],
  async run({ host, openStore, out }, [ref]) {
    await using store = await openStore('read')
    const steps = await store.images.history(ref)
    await out.result(steps.map(historyStep), () => {
      const rows = steps.map(({ created, createdBy, size, comment }) => {
        const by = truncate(createdBy.replaceAll(/\s+/g, ' '), CREATED_BY_WIDTH)
        return [humanAge(created, host.now()), by, humanSize(size), comment]
      })
      return out.table(['CREATED', 'CREATED BY', 'SIZE', 'COMMENT'], rows)
    })
  },
}

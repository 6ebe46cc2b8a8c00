import { humanSize } from './format.ts'
import type { Verb } from './verb.ts'

/** `overlaid gc` */
export const verb: Verb<[], { dryRun?: boolean }> = {
  options: [{ flags: '--dry-run', does: 'only say what would be removed' }],
  examples: [
    ['gc --dry-run', 'what crashes left, and layers that nothing refers to'],
    ['gc', 'remove them'],
  ],
  async run({ openStore, out, signal }, _args, { dryRun }) {
    const isDry = dryRun === true
    await using store = await openStore(isDry ? 'read' : 'write')
    const { removed, bytes } = await store.gc({ dryRun: isDry, signal })
    const value = { removed: removed.map(({ kind, path, bytes }) => ({ kind, path, bytes })), bytes }
    await out.result(value, () => [
      ...removed.map(({ kind, path, bytes }) => `${kind}: ${out.name(path)} (${humanSize(bytes)})`),
      `Total ${isDry ? 'reclaimable' : 'reclaimed'} space: ${humanSize(bytes)}`,
    ])
  },
}

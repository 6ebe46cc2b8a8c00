import { OverlaidError } from '../errors.ts'
import type { Change, ChangeKind } from '../driver/driver.ts'
import { escapeBytes } from './format.ts'
import type { Colors, Output } from './output.ts'
import { checkDestination, writeArchive } from './streams.ts'
import type { Verb } from './verb.ts'

/** `overlaid diff` */
export const verb: Verb<[container: string], { tar?: boolean; output?: string }> = {
  args: [['<container>', 'by name or id']],
  options: [
    { flags: '--tar', does: 'the changes as a layer tar' },
    { flags: '-o, --output <file>', does: 'with --tar: where to; stdout without it' },
  ],
  examples: [
    ['diff web', 'what was added (A), changed (C) and deleted (D), sorted by path'],
    ['diff --tar -o layer.tar web', 'a layer, with whiteouts as the image specification has them'],
    [`--json diff web | jq -r 'select(.kind == "A") | .path'`, 'one object a line'],
  ],
  notes:
    'A path is printed byte for byte, on a terminal with control characters spelled out. With --json, `path` of a\n' +
    'name that is not UTF-8 has U+FFFD for each wrong byte, and `pathBytes` has the name in base64.',
  async run(context, [name], { tar, output }) {
    const { openStore, out, signal } = context
    if (tar !== true && output !== undefined) {
      throw new OverlaidError('ERR_INVALID_ARGUMENT', '-o is for --tar', { hint: 'redirect stdout instead' })
    }
    if (tar === true) checkDestination(context, output)
    await using store = await openStore('read')
    const container = await store.containers.get(name)
    if (tar === true) return await writeArchive(context, output, container.diff({ signal }))
    for await (const change of container.changes()) {
      signal.throwIfAborted()
      await out.write(out.json ? asJSON(change) : asLine(change, out))
    }
  },
}

const COLOR = { A: 'green', C: 'yellow', D: 'red' } as const satisfies Record<ChangeKind, keyof Colors>

function asLine({ kind, path }: Change, { isTerminal, colors }: Output): string | Buffer {
  if (!isTerminal) return Buffer.concat([Buffer.from(`${kind} `), path, Buffer.from('\n')])
  return `${colors[COLOR[kind]](kind)} ${escapeBytes(path)}\n`
}

function asJSON({ kind, path }: Change): string {
  const text = path.toString('utf8')
  const isText = Buffer.from(text, 'utf8').equals(path)
  const object = isText ? { kind, path: text } : { kind, path: text, pathBytes: path.toString('base64') }
  return `${JSON.stringify(object)}\n`
}

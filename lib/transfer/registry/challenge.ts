/** What a registry wants to see before it answers: the header WWW-Authenticate. @see RFC 9110, section 11.6.1 */

export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string
  readonly parameters: ReadonlyMap<string, string>
}

const PARAMETER = /[\s,]*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?=,|$)/y
const SCHEME = /[\s,]*([A-Za-z][A-Za-z0-9_-]*)(?=\s|,|$)/y

/** The challenges of a header; of one that is malformed, those before the fault. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = []
  for (let at = 0; at < header.length;) {
    const current = challenges.at(-1)
    const parameter = matchAt(PARAMETER, header, at)
    const scheme = parameter === undefined ? matchAt(SCHEME, header, at) : undefined
    if (parameter !== undefined && current !== undefined) {
      const [all, name = '', quoted, plain = ''] = parameter
      current.parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain)
      at += all.length
    } else if (scheme !== undefined) {
      challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), parameters: new Map() })
      at += scheme[0].length
    } else {
      break
    }
  }
  return challenges
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at
  return pattern.exec(text) ?? undefined
}

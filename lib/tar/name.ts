/** Nothing that cleaning would change. */
const CLEAN = /^(?!\.{1,2}(?:\/|$))[^/]+(?:\/(?!\.{1,2}(?:\/|$))[^/]+)*$/

/**
 * A member's name as components below the root: `.`, `..` and empty components are resolved in the name alone, as
 * moby, containerd and umoci do before they touch the file system, and `..` above the root stays at the root. Of the
 * root itself there are none. Both as latin1 strings, a character a byte: names need not be UTF-8.
 */
export function cleanParts(name: string): string[] {
  if (CLEAN.test(name)) return name.split('/')
  const parts: string[] = []
  for (const part of components(name)) {
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  return parts
}

/** {@link cleanParts} as a relative path. */
export function cleanPath(name: Buffer): string {
  const text = name.toString('latin1')
  return CLEAN.test(text) ? text : cleanParts(text).join('/')
}

/** {@link cleanPath} as bytes. */
export function cleanName(name: Buffer): Buffer {
  return Buffer.from(cleanPath(name), 'latin1')
}

/** The components of a path, without empty ones and `.`; `..` is kept. */
export function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.')
}

/** Whether a name has more than `depth` components. */
export function isDeeper(name: Buffer, depth: number): boolean {
  // A component takes a byte and a slash at least: nearly every name is too short to count.
  return name.length > 2 * depth && components(name.toString('latin1')).length > depth
}

/**
 * A member's name as components below the root: `.`, `..` and empty components are resolved in the name alone, as
 * moby, containerd and umoci do before they touch the file system, and `..` above the root stays at the root. Of the
 * root itself there are none. As latin1 strings, a character a byte: names need not be UTF-8.
 */
export function cleanParts(name: Buffer): string[] {
  const parts: string[] = []
  for (const part of components(name.toString('latin1'))) {
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  return parts
}

/** {@link cleanParts} as a relative path. */
export function cleanName(name: Buffer): Buffer {
  return Buffer.from(cleanParts(name).join('/'), 'latin1')
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

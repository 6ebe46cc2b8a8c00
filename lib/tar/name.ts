const SLASH = 0x2f

/**
 * A member's name as a path below the root: `.`, `..`, empty components and slashes at the ends are resolved in
 * the name alone, as moby, containerd and umoci do before they touch the file system, and `..` above the root
 * stays at the root. The root itself is empty.
 */
export function cleanName(name: Uint8Array): Buffer {
  const parts: Uint8Array[] = []
  for (const part of components(name)) {
    if (isDotDot(part)) parts.pop()
    else parts.push(part)
  }
  return joinComponents(parts)
}

/** The components of a path, without empty ones and `.`; `..` is kept. */
export function components(path: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let start = 0; start < path.length;) {
    const slash = path.indexOf(SLASH, start)
    const end = slash < 0 ? path.length : slash
    const isDot = end - start === 1 && path[start] === 0x2e
    if (end > start && !isDot) parts.push(path.subarray(start, end))
    start = end + 1
  }
  return parts
}

export function isDotDot(part: Uint8Array): boolean {
  return part.length === 2 && part[0] === 0x2e && part[1] === 0x2e
}

export function joinComponents(parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length + 1, 0)
  const path = Buffer.alloc(Math.max(0, length - 1), SLASH)
  let at = 0
  for (const part of parts) {
    path.set(part, at)
    at += part.length + 1
  }
  return path
}

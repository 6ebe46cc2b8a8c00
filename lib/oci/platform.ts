/** Platforms: which of an image's variants runs on this machine. */

/** In Go's words, as image configs and indexes have them. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string | undefined
}

/** Node's names of architectures that Go calls otherwise. */
const GO_NAMES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  mipsel: 'mipsle',
}

/**
 * Variants from best to least that every machine of the architecture runs; absent is ''. x86-64 levels above v1
 * need a processor that nobody promised, so they are not taken unasked. Node on arm needs ARMv7.
 * @see containerd `platforms`, the defaults for each architecture
 */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  amd64: ['', 'v1'],
  arm64: ['v8', ''],
  arm: ['v7', '', 'v6', 'v5'],
}

/** The platform whose containers this process can run. */
export function hostPlatform(arch: string = process.arch): Platform {
  return { os: 'linux', architecture: GO_NAMES[arch] ?? arch }
}

/** How well `candidate` suits `host`: 0 is best, undefined is not at all. */
export function suitability(candidate: Platform, host: Platform): number | undefined {
  if (candidate.os !== host.os || candidate.architecture !== host.architecture) return undefined
  const rank = (VARIANTS[host.architecture] ?? ['']).indexOf(candidate.variant ?? '')
  return rank < 0 ? undefined : rank
}

/** `linux/arm/v7`. */
export function formatPlatform(platform: Platform): string {
  const parts = [platform.os, platform.architecture]
  if (platform.variant !== undefined && platform.variant !== '') parts.push(platform.variant)
  return parts.join('/')
}

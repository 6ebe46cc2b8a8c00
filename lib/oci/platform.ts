/** Platforms: which of an image's variants runs on this machine. */
import { OverlaidError } from '../errors.ts'

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

/**
 * Reads `linux/arm/v7`, or an architecture alone.
 * @throws ERR_INVALID_ARGUMENT
 */
export function parsePlatform(text: string): Platform {
  const parts = text.includes('/') ? text.split('/') : ['linux', text]
  const [os = '', architecture = '', variant] = parts
  if (parts.length > 3 || !parts.every((part) => /^[a-z0-9_]+$/.test(part))) {
    throw new OverlaidError('ERR_INVALID_ARGUMENT', `${JSON.stringify(text)} is not a platform`, {
      hint: 'for example linux/amd64, linux/arm/v7 or arm64',
    })
  }
  return { os, architecture, ...(variant !== undefined && { variant }) }
}

/** How well `candidate` suits `host`: 0 is best, undefined is not at all. */
export function suitability(candidate: Platform, host: Platform): number | undefined {
  if (candidate.os !== host.os || candidate.architecture !== host.architecture) return undefined
  const rank = variantsFor(host).indexOf(candidate.variant ?? '')
  return rank < 0 ? undefined : rank
}

/** Best first. A host that says its variant takes that and what comes after it. */
function variantsFor({ architecture, variant }: Platform): readonly string[] {
  const known = VARIANTS[architecture] ?? ['']
  if (variant === undefined) return known
  const at = known.indexOf(variant)
  return at < 0 ? [variant, ...known] : known.slice(at)
}

/** `linux/arm/v7`. */
export function formatPlatform(platform: Platform): string {
  const parts = [platform.os, platform.architecture]
  if (platform.variant !== undefined && platform.variant !== '') parts.push(platform.variant)
  return parts.join('/')
}

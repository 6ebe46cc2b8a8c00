/**
 * Image references: docker's grammar, between the short names that people type and the full ones.
 *
 *     alpine                    docker.io/library/alpine:latest
 *     me/tool:1                 docker.io/me/tool:1
 *     localhost/x               localhost/x:latest
 *     host:5000/a/b@sha256:…    host:5000/a/b@sha256:…
 *
 * The left forms are familiar, the right ones normalized. What comes before the first slash is a registry when it
 * has a dot or a colon or is `localhost`; anything else is a path on Docker Hub.
 * @see distribution/reference, reference.go and normalize.go
 */
import { OverlaidError } from '../errors.ts'
import { type Digest, isDigest, parseDigest } from './digest.ts'

/** A normalized reference. It has a tag or a digest, never both: with a digest the tag says nothing more. */
export interface Reference {
  /** Registry, e.g. `docker.io`. */
  readonly domain: string
  /** Repository in the registry, e.g. `library/alpine`. */
  readonly path: string
  readonly tag?: string
  readonly digest?: Digest
}

const DEFAULT_DOMAIN = 'docker.io'
const LEGACY_DOMAIN = 'index.docker.io'
const OFFICIAL = 'library/'
const DEFAULT_TAG = 'latest'
/** distribution/reference NameTotalLengthMax, registry included. */
const MAX_NAME_LENGTH = 255

const LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])'
const DOMAIN = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`)
const COMPONENT = '[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*'
const PATH = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`)
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const IMAGE_ID = /^[0-9a-f]{64}$/
const ID_PREFIX = /^(?:sha256:)?([0-9a-f]{1,64})$/

/**
 * Reads a reference, familiar or normalized. The tag is `latest` when it has neither tag nor digest.
 * @throws ERR_INVALID_REFERENCE
 */
export function parseReference(text: string): Reference {
  const { name, tag, digest } = split(text)
  const { domain, path } = normalizeName(name, text)
  if (!DOMAIN.test(domain)) throw invalid(text, `${JSON.stringify(domain)} is not a registry's name`)
  if (!PATH.test(path)) {
    throw invalid(text, /[A-Z]/.test(path) ? 'a repository name is lower-case' : 'not a repository name')
  }
  if (domain.length + 1 + path.length > MAX_NAME_LENGTH) {
    throw invalid(text, `the name has more than ${String(MAX_NAME_LENGTH)} characters`)
  }
  if (tag !== undefined && !TAG.test(tag)) throw invalid(text, `${JSON.stringify(tag)} is not a tag`)
  const named =
    digest === undefined
      ? { domain, path, tag: tag ?? DEFAULT_TAG }
      : { domain, path, digest: parseDigest(digest) }
  // Such a name could not be told from an image id: moby's reference store refuses it too.
  if (familiarName(named) === 'sha256') throw invalid(text, 'a repository cannot be called sha256')
  return named
}

/** Cuts text in name, tag and digest. A colon starts a tag only after the last slash: before it, it is a port's. */
function split(text: string): { name: string; tag?: string; digest?: string } {
  const at = text.indexOf('@')
  const rest = at < 0 ? text : text.slice(0, at)
  const colon = rest.indexOf(':', rest.lastIndexOf('/') + 1)
  return {
    name: colon < 0 ? rest : rest.slice(0, colon),
    ...(colon >= 0 && { tag: rest.slice(colon + 1) }),
    ...(at >= 0 && { digest: text.slice(at + 1) }),
  }
}

function normalizeName(name: string, text: string): { domain: string; path: string } {
  if (IMAGE_ID.test(name)) throw invalid(text, 'a name of 64 hex digits is an image id')
  const slash = name.indexOf('/')
  const first = name.slice(0, Math.max(slash, 0))
  const given = slash >= 0 && isDomain(first)
  const domain = given && first !== LEGACY_DOMAIN ? first : DEFAULT_DOMAIN
  const path = given ? name.slice(slash + 1) : name
  return { domain, path: domain === DEFAULT_DOMAIN && !path.includes('/') ? OFFICIAL + path : path }
}

/** Upper case cannot be a path, so it must be meant as a registry's name. */
function isDomain(component: string): boolean {
  return /[.:]/.test(component) || component === 'localhost' || component !== component.toLowerCase()
}

function invalid(text: string, reason: string): OverlaidError {
  return new OverlaidError(
    'ERR_INVALID_REFERENCE',
    `invalid reference ${JSON.stringify(text.slice(0, 300))}: ${reason}`,
  )
}

/** `docker.io/library/alpine`: the normalized name without tag or digest. */
export function nameOf(ref: Reference): string {
  return `${ref.domain}/${ref.path}`
}

/** `alpine`: the shortest name that reads back as this one, without tag or digest. */
export function familiarName(ref: Reference): string {
  if (ref.domain !== DEFAULT_DOMAIN) return nameOf(ref)
  if (ref.path.startsWith(OFFICIAL) && !ref.path.includes('/', OFFICIAL.length)) {
    return ref.path.slice(OFFICIAL.length)
  }
  // docker.io/foo.bar/baz without its registry would be read as baz on the registry foo.bar.
  return isDomain(ref.path.slice(0, ref.path.indexOf('/'))) ? nameOf(ref) : ref.path
}

function suffix(ref: Reference): string {
  return ref.digest === undefined ? `:${ref.tag ?? DEFAULT_TAG}` : `@${ref.digest}`
}

/** `docker.io/library/alpine:3.20`. */
export function formatReference(ref: Reference): string {
  return nameOf(ref) + suffix(ref)
}

/** `alpine:3.20`: as people see it, and the key in repositories.json. */
export function familiar(ref: Reference): string {
  return familiarName(ref) + suffix(ref)
}

/** The digest when `text` is a whole image id: `sha256:` and 64 hex digits, or the digits alone. */
export function imageIDOf(text: string): Digest | undefined {
  if (isDigest(text)) return parseDigest(text)
  return IMAGE_ID.test(text) ? parseDigest(`sha256:${text}`) : undefined
}

/**
 * The hex digits when `text` could be the start of an id. It may be a name as well (`cafe`): the caller decides,
 * docker looks for a name first.
 */
export function idPrefixOf(text: string): string | undefined {
  return ID_PREFIX.exec(text)?.[1]
}

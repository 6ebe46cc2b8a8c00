/** What goes wrong with a registry, in its own words and without secrets. */
import { type ErrorCode, type ErrorFacts, hasCode, isOverlaidError, OverlaidError } from '../../errors.ts'

/** May go better the next time. */
export class TransientError extends OverlaidError {
  /** How long the registry asks to wait, in ms. */
  readonly retryAfter: number | undefined

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}, retryAfter?: number) {
    super(code, message, facts)
    // Not for printers: it is the business of retry.ts.
    Object.defineProperty(this, 'retryAfter', { value: retryAfter })
  }
}

/** Of an error document, this many bytes, errors and characters of each are taken. */
export const MAX_ERROR_BYTES: number = 64 * 1024
const MAX_ERRORS = 5
const MAX_WORDS = 300

/** Too many requests, and what servers and proxies in trouble say. */
const TRANSIENT: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

/** An answer that is not what was asked for. */
export interface Refusal {
  readonly status: number
  readonly retryAfter: string | undefined
  /** The first {@link MAX_ERROR_BYTES} of the body. */
  readonly body: string
}

/**
 * The error for a refusal. Details have the codes of the distribution specification, `MANIFEST_UNKNOWN`, with the
 * registry's words.
 * @param asked what was asked, for the message: `registry.example:5000: manifest of a/b:1`
 * @param secrets are taken out of the words
 * @see OCI distribution-spec, "Error Codes"
 */
export function refused(asked: string, refusal: Refusal, secrets: readonly string[]): OverlaidError {
  const { status } = refusal
  const words = wordsOf(refusal.body).map((text) => withoutSecrets(text, secrets))
  const facts = { ...(words.length > 0 && { detail: words }) }
  const said = `${asked}: the registry answered ${String(status)}`
  if (TRANSIENT.has(status)) {
    const hint = status === 429 ? { hint: 'log in for a higher limit, or wait' } : {}
    return new TransientError('ERR_REGISTRY', said, { ...facts, ...hint }, retryAfterOf(refusal.retryAfter))
  }
  if (status === 401 || status === 403) return unauthorized(asked, facts)
  if (status === 404) return new OverlaidError('ERR_IMAGE_NOT_FOUND', `${asked}: not in the registry`, facts)
  return new OverlaidError('ERR_REGISTRY', said, facts)
}

export function unauthorized(asked: string, facts: ErrorFacts = {}): OverlaidError {
  return new OverlaidError('ERR_UNAUTHORIZED', `${asked}: the registry does not allow it`, {
    hint: 'overlaid login gives credentials for a registry; or the name is wrong',
    ...facts,
  })
}

/** `CODE: message` of each error of the document; of one in another form its first line. */
function wordsOf(body: string): string[] {
  const errors = errorsOf(body)
  const lines = errors.map(({ code, message }) => [code, message].filter(isText).join(': '))
  const [line = ''] = body.trim().split('\n')
  // A proxy's page says nothing in its first line.
  const plain = line.startsWith('<') || line.startsWith('{') ? [] : [line]
  return (errors.length > 0 ? lines : plain)
    .map((text) => text.replace(/\p{Cc}/gu, ' ').slice(0, MAX_WORDS))
    .filter((text) => text !== '')
    .slice(0, MAX_ERRORS)
}

function errorsOf(body: string): { readonly code?: unknown; readonly message?: unknown }[] {
  try {
    const { errors, details } = JSON.parse(body) as { errors?: unknown; details?: unknown }
    if (Array.isArray(errors)) return (errors as unknown[]).filter(isObject)
    // Token servers of docker's.
    return typeof details === 'string' ? [{ message: details }] : []
  } catch {
    // SyntaxError, or null: not a document of the specification's.
    return []
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((rest, secret) => rest.replaceAll(secret, '***'), text)
}

/** `Retry-After`, seconds or a date, in ms. */
function retryAfterOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}

/** errno names and OpenSSL's and Node's codes of a connection that may be there the next time. */
const TRANSIENT_CODES = [
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'HPE_INVALID_EOF_STATE',
  'ERR_STREAM_PREMATURE_CLOSE',
]

/** The error for a connection that did not come to be, or broke off. What is overlaid's own stays as it is. */
export function disconnected(asked: string, error: unknown): unknown {
  if (isOverlaidError(error) || !(error instanceof Error)) return error
  const { code = '' } = error as { code?: string }
  const message = `${asked}: ${error.message === '' ? code : error.message}`
  if (hasCode(error, ...TRANSIENT_CODES))
    return new TransientError('ERR_UNREACHABLE', message, { cause: error })
  // Anything with a code is the network's, TLS's or the parser's; without one it is a mistake of ours.
  if (code === '' || code === 'ABORT_ERR') return error
  return new OverlaidError('ERR_UNREACHABLE', message, { cause: error, ...hintOf(code) })
}

function hintOf(code: string): { hint?: string } {
  if (/CERT|SIGNATURE|ISSUER/.test(code)) {
    return { hint: "put the registry's CA into /etc/docker/certs.d/HOST:PORT/ca.crt, or ask for --insecure" }
  }
  if (code === 'ENOTFOUND') return { hint: 'is the name of the registry right?' }
  if (isNoTLS(code)) return { hint: 'the registry speaks plain HTTP: ask for --insecure if that is meant' }
  return {}
}

/** What OpenSSL finds where a server speaks HTTP, or anything else. */
export function isNoTLS(code: string): boolean {
  return code === 'EPROTO' || code.startsWith('ERR_SSL_')
}

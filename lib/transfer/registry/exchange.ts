/** One request and its answer, in bounded time. */
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { request as requestTLS } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Connections } from './connections.ts'
import { MAX_ERROR_BYTES, type Refusal, TransientError } from './failure.ts'

export interface Outgoing {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** A stream is sent as it comes. */
  readonly body?: Buffer | AsyncIterable<Buffer> | undefined
}

/** Progress enough to wait for more: see RegistryTimeouts.stall. */
const PROGRESS_BYTES = 64 * 1024

/**
 * Sends a request. The answer comes with its body unread: whoever gets it reads it to its end, or destroys it.
 * @throws the network's errors, TransientError when a time is up, the signal's reason, and what the body throws
 */
export async function exchange(
  connections: Connections,
  { method, url, headers, body }: Outgoing,
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  signal?.throwIfAborted()
  const { timeouts } = connections
  const route = connections.route(url)
  const send = (route.protocol ?? url.protocol) === 'https:' ? requestTLS : request
  const outgoing = send(url, { ...route, method, headers: { ...headers, ...route.headers } })
  const watch = new Watch((error) => outgoing.destroy(error))
  const abort = (): void => void outgoing.destroy(signal?.reason as Error)
  signal?.addEventListener('abort', abort, { once: true })
  outgoing.once('close', () => signal?.removeEventListener('abort', abort))
  const answer = answerTo(outgoing)
  let sending: Promise<void> | undefined
  try {
    watch.start(timeouts.connect, `no connection to ${url.host}`)
    await Promise.race([connected(outgoing), answer])
    watch.stop()
    // A registry that refuses does so before all is sent.
    sending = sendBody(outgoing, body, { watch, stall: timeouts.stall })
    await Promise.race([sending, answer])
    watch.start(timeouts.response, `no answer from ${url.host}`)
    return await answer
  } catch (error) {
    outgoing.destroy()
    signal?.throwIfAborted()
    throw error
  } finally {
    watch.stop()
    // What the body is read from is closed then. Its failure is thrown above, or came too late to matter.
    await sending?.catch(() => undefined)
  }
}

/** Ends what takes too long. */
class Watch {
  readonly #end: (error: Error) => void
  #timer: NodeJS.Timeout | undefined

  constructor(end: (error: Error) => void) {
    this.#end = end
  }

  start(ms: number, what: string): void {
    this.stop()
    const late = (): void => this.#end(new TransientError('ERR_UNREACHABLE', `${what} for ${String(ms)} ms`))
    this.#timer = setTimeout(late, ms)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

function answerTo(outgoing: ClientRequest): Promise<IncomingMessage> {
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve)
    // Stays, for what happens when nobody waits any more.
    outgoing.on('error', reject)
  })
  answer.catch(() => undefined)
  return answer
}

/** Resolves when there is a connection, TLS included; an error is the answer's. */
function connected(outgoing: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    outgoing.once('socket', (socket: Socket & Partial<Pick<TLSSocket, 'encrypted'>>) => {
      const isSecuring =
        socket.encrypted === true && (socket as { secureConnecting?: boolean }).secureConnecting
      if (!socket.connecting && isSecuring !== true) resolve()
      else socket.once(socket.encrypted === true ? 'secureConnect' : 'connect', () => resolve())
    })
  })
}

async function sendBody(
  outgoing: ClientRequest,
  body: Outgoing['body'],
  { watch, stall }: { readonly watch: Watch; readonly stall: number },
): Promise<void> {
  if (body === undefined || Buffer.isBuffer(body)) return void outgoing.end(body)
  let isOver = false
  outgoing.once('response', () => (isOver = true))
  for await (const chunk of body) {
    if (isOver || outgoing.destroyed) return
    if (outgoing.write(chunk)) continue
    watch.start(stall, 'the registry takes nothing more')
    await drained(outgoing)
    watch.stop()
  }
  outgoing.end()
}

/** Resolves when more may be written, or nothing more is to be. */
function drained(outgoing: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const events = ['drain', 'response', 'close'] as const
    const done = (): void => {
      for (const event of events) outgoing.off(event, done)
      resolve()
    }
    for (const event of events) outgoing.on(event, done)
  })
}

/**
 * The body of an answer, as it comes.
 * @throws TransientError when it stalls, the network's errors when it is cut off, the signal's reason
 */
export async function* receive(
  response: IncomingMessage,
  { timeouts }: Connections,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const chunks = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  const watch = new Watch((error) => response.destroy(error))
  // Only the time counts that the network takes, not the reader's.
  let left = timeouts.stall
  let progress = 0
  try {
    for (;;) {
      const start = performance.now()
      watch.start(left, 'the registry sent next to nothing')
      const next = await chunks.next()
      watch.stop()
      if (next.done === true) return
      left -= performance.now() - start
      progress += next.value.length
      if (progress >= PROGRESS_BYTES) [left, progress] = [timeouts.stall, 0]
      yield next.value
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    watch.stop()
    response.destroy()
  }
}

/** The body of an answer, whole or its first `max` bytes and one more. */
export async function receiveStart(
  response: IncomingMessage,
  connections: Connections,
  max: number,
  signal?: AbortSignal,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of receive(response, connections, signal)) {
    chunks.push(chunk)
    size += chunk.length
    if (size > max) break
  }
  return Buffer.concat(chunks).subarray(0, max + 1)
}

/** What an answer that was not hoped for says. */
export async function readRefusal(
  response: IncomingMessage,
  connections: Connections,
  signal?: AbortSignal,
): Promise<Refusal> {
  const body = (await receiveStart(response, connections, MAX_ERROR_BYTES, signal)).toString()
  return { status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], body }
}

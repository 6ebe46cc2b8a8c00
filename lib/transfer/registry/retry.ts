/** Trying again what may go better the next time: later each time, and not all at once. */
import { setTimeout as pause } from 'node:timers/promises'
import { abortable } from '../../tar/abortable.ts'
import { TransientError } from './failure.ts'
import type { RegistryOptions } from './options.ts'

export interface RetryPolicy {
  /** Tries in all. */
  readonly attempts: number
  /** ms before the second try. */
  readonly delay: number
}

const DEFAULT_ATTEMPTS = 5
const DEFAULT_DELAY = 500

export function policyOf({ attempts, retryDelay }: RegistryOptions): RetryPolicy {
  return { attempts: attempts ?? DEFAULT_ATTEMPTS, delay: retryDelay ?? DEFAULT_DELAY }
}

const LONGEST_DELAY = 15_000
/** Who asks for more than this is not waited for. */
const LONGEST_RETRY_AFTER = 60_000

/** Runs `work` until it does not fail with a TransientError, or has failed too often. @throws its last error */
export async function retrying<T>(
  policy: RetryPolicy,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await work()
    } catch (error) {
      await beforeNextTry(policy, failures, error, signal)
    }
  }
}

/**
 * Waits for the next try after so many failures in a row.
 * @throws `error` when there is to be none, the signal's reason
 */
export async function beforeNextTry(
  { attempts, delay }: RetryPolicy,
  failures: number,
  error: unknown,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted()
  if (!(error instanceof TransientError) || failures >= attempts) throw error
  const { retryAfter = 0 } = error
  if (retryAfter > LONGEST_RETRY_AFTER) throw error
  const backOff = Math.min(LONGEST_DELAY, delay * 2 ** (failures - 1))
  const stop = new AbortController()
  try {
    // Half of it at random, so that those who failed together do not come back together.
    const ms = Math.max(retryAfter, backOff * (0.5 + Math.random() / 2))
    await abortable(pause(ms, undefined, { signal: stop.signal }), signal)
  } finally {
    stop.abort()
  }
}

/**
 * User namespaces of id maps, kept for the next mount with the same map: making one takes a process, which is half of
 * what a mapped mount takes longer than another.
 */
import type { OwnedFd } from '../../native/fd.ts'
import { formatRanges, type IDMap, openUserNamespace } from '../id-map.ts'

/** Unused ones: a service may give each container ids of its own, and namespaces are counted (max_user_namespaces). */
export const MAX_KEPT = 16

interface Kept {
  readonly opening: Promise<OwnedFd>
  users: number
}

export class UserNamespaces {
  /** By what is written into their uid_map and gid_map; the one that was used last comes last. */
  readonly #kept = new Map<string, Kept>()

  /** Runs `work` with the descriptor of a namespace that has the map; it is open that long. @throws SyscallError */
  async use<T>(idMap: IDMap, work: (fd: number) => Promise<T>): Promise<T> {
    const key = `${formatRanges(idMap.uid)}\n${formatRanges(idMap.gid)}`
    const kept = this.#kept.get(key) ?? { opening: openUserNamespace(idMap), users: 0 }
    this.#kept.delete(key)
    this.#kept.set(key, kept)
    kept.users++
    try {
      const namespace = await kept.opening.catch((error: unknown) => {
        if (this.#kept.get(key) === kept) this.#kept.delete(key)
        throw error
      })
      return await work(namespace.fd)
    } finally {
      kept.users--
      await this.#keep(MAX_KEPT)
    }
  }

  /** Closes those that nobody uses. */
  async release(): Promise<void> {
    await this.#keep(0)
  }

  async #keep(count: number): Promise<void> {
    const unused = [...this.#kept].filter(([, { users }]) => users === 0)
    for (const [key, { opening }] of unused.slice(0, Math.max(0, unused.length - count))) {
      this.#kept.delete(key)
      const namespace = await opening
      namespace.close()
    }
  }
}

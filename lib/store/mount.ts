/** A mount as a handle: where the merged content is, and how to undo it. */
export class Mount implements AsyncDisposable {
  /** The path, when it is mounted at one; of a mount in another process's namespace, the path there. */
  readonly path?: string
  /** The root's descriptor, when the mount is detached. Closed by unmount(). */
  readonly fd?: number
  /** It outlives this process, until unmount(), `Store.unmount`, rm or reboot. */
  readonly persist: boolean
  readonly #undo: (options: { readonly force?: boolean }) => Promise<void>
  readonly #release: () => Promise<void>
  #ending: Promise<void> | undefined

  /** Made by Container.mount and Images.mount. */
  constructor(
    place: { readonly path?: string; readonly fd?: number; readonly persist: boolean },
    undo: (options: { readonly force?: boolean }) => Promise<void>,
    release: () => Promise<void>,
  ) {
    if (place.path !== undefined) this.path = place.path
    if (place.fd !== undefined) this.fd = place.fd
    this.persist = place.persist
    this.#undo = undo
    this.#release = release
  }

  /**
   * Undoes the mount, unless another holder still has it. Idempotent; when it fails it may be called again. With
   * durability `none` the kernel may go on ending an overlay for a moment: Store.close waits for that.
   * @throws ERR_IN_USE while a process has files open in it or its working directory there, unless `force` detaches
   */
  unmount(options: { readonly force?: boolean } = {}): Promise<void> {
    this.#ending ??= this.#undo(options).catch((error: unknown) => {
      this.#ending = undefined
      throw error
    })
    return this.#ending
  }

  /** It was undone by force, not through this handle: nothing is left to do but to let go. */
  forget(): Promise<void> {
    // Not awaited when an unmount() is on its way: that one waits for the lock which our caller holds.
    this.#ending ??= Promise.resolve()
    return this.#release()
  }

  /** As {@link Mount.unmount}; a persistent mount stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.persist) await this.unmount()
  }
}

/** A mount as a handle: where the merged content is, and how to undo it. */
export class Mount implements AsyncDisposable {
  /** The path, when it is mounted at one; of a mount in another process's namespace, the path there. */
  readonly path?: string
  /** The root's descriptor, when the mount is detached. Closed by unmount(). */
  readonly fd?: number

  /** Undoes the mount, unless another holder still has it. Idempotent. A persistent mount stays. */
  unmount(): Promise<void> {
    throw new Error('not built yet')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmount()
  }
}

/** What has been set up step by step, and is taken down again the last first: on the way out, or later by who keeps it. */
export class Undo implements AsyncDisposable {
  #steps: (AsyncDisposable | Disposable)[] = []

  /** Gives `step` back. */
  add<T extends AsyncDisposable | Disposable>(step: T): T {
    this.#steps.push(step)
    return step
  }

  /** Hands all of it on: disposing this does nothing any more. */
  keep(): Undo {
    const kept = new Undo()
    kept.#steps = this.#steps
    this.#steps = []
    return kept
  }

  /** All steps are tried; the first failure is told. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = []
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        if (Symbol.asyncDispose in step) await step[Symbol.asyncDispose]()
        else step[Symbol.dispose]()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}

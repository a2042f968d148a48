/** Work that goes on beside a test, and ends with it. */

/** Repeats a step until it is stopped. What fails in it is told by `stop`. */
export class Background implements AsyncDisposable {
  #isStopped = false;
  #failure: { readonly error: unknown } | null = null;
  readonly #over: Promise<void>;

  constructor(step: () => Promise<unknown>) {
    this.#over = this.#run(step);
  }

  /** Ends after the step that is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#over;
    if (this.#failure !== null) throw this.#failure.error;
  }

  /** Ends without a word, after a test that may have failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    await this.#over;
  }

  async #run(step: () => Promise<unknown>): Promise<void> {
    try {
      while (!this.#isStopped) await step();
    } catch (error) {
      this.#failure = { error };
    }
  }
}

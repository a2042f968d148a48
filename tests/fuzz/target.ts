/** What is fuzzed: something that is opened once, and then sent what one seed after the other makes. */

/** Something that is fuzzed. */
export interface Target {
  /** The name that `--only` takes. */
  readonly name: string;
  /** Makes it ready. */
  open(): Promise<OpenTarget>;
}

/** A target that is ready. */
export interface OpenTarget extends AsyncDisposable {
  /**
   * One round: the same seed makes the same input.
   *
   * @throws if anything is not as the protocol has it.
   */
  run(seed: number): Promise<void>;
  /** What was done so far, and what came of it, in one line. */
  describe(): string;
}

/** Counts things by name. */
export class Counts {
  readonly #counts = new Map<string, number>();

  add(name: string | number, count = 1): void {
    this.#counts.set(`${name}`, this.of(name) + count);
  }

  of(name: string | number): number {
    return this.#counts.get(`${name}`) ?? 0;
  }

  toString(): string {
    return [...this.#counts].sort().map(([name, count]) => `${name}: ${count}`).join(", ");
  }
}

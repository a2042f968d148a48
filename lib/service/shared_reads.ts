/**
 * Reads that many ask for at once are made once for all of them: whoever asks while one is under way gets what the next
 * one finds, which begins after that. So nobody is told anything older than the question.
 * @module
 */

interface UnderWay<T> {
  readonly done: Promise<unknown>;
  next: Promise<T> | null;
}

/** Reads by key, at most two for each: one under way, and one that waits for it. */
export class SharedReads<T> {
  readonly #underWay = new Map<string, UnderWay<T>>();

  constructor(private readonly make: (key: string) => Promise<T>) {}

  /** Reads what is there now. Rejects as the read does. */
  read(key: string): Promise<T> {
    const underWay = this.#underWay.get(key);
    if (underWay === undefined) return this.#start(key);
    return underWay.next ??= underWay.done.then(() => this.#start(key));
  }

  /** How many keys are being read. */
  get size(): number {
    return this.#underWay.size;
  }

  #start(key: string): Promise<T> {
    const reading = this.make(key);
    const done = reading.catch(() => {}).then(() => {
      // The next one, if there is any, takes this one's place.
      if (this.#underWay.get(key) === underWay && underWay.next === null) this.#underWay.delete(key);
    });
    const underWay: UnderWay<T> = { done, next: null };
    this.#underWay.set(key, underWay);
    return reading;
  }
}

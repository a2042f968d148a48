/** Durations, counted in classes: any number of them in a bounded space, each exact to 5 %. */

const STEP = Math.log(1.05);
const LEAST_MS = 0.05;
const CLASSES = 320; // to over 5 minutes

/** How long something took, again and again. */
export class Latencies {
  readonly #counts = new Float64Array(CLASSES);
  #count = 0;
  #longest = 0;

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** The longest, in milliseconds, exact. */
  get longest(): number {
    return this.#longest;
  }

  /** Counts one. */
  add(ms: number): void {
    const index = ms <= LEAST_MS ? 0 : Math.min(CLASSES - 1, Math.ceil(Math.log(ms / LEAST_MS) / STEP));
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count++;
    if (ms > this.#longest) this.#longest = ms;
  }

  /** The duration in milliseconds that this share took no longer than; `NaN` if there are none. */
  quantile(share: number): number {
    let left = share * this.#count;
    for (let index = 0; index < CLASSES; index++) {
      left -= this.#counts[index] ?? 0;
      if (left <= 0 && this.#count > 0) return Math.min(this.#longest, LEAST_MS * Math.exp(index * STEP));
    }
    return Number.NaN;
  }
}

/**
 * Refusals that come in a flood are held back for a moment: whoever tries again as soon as it is refused then tries once
 * in two seconds on each of its connections, and no longer as often as the server can refuse.
 * @module
 */
import { ALL, Budget } from "../budget.ts";
import { type Clock, sleep } from "../clock.ts";

/** So many refusals a second are given at once, and so many after a quiet time. */
const FREE = { perSecond: 2, burst: 50 };

/** How long the others wait, at least and at most, so that they do not come again together … */
const HELD_MS = { least: 1_500, most: 2_500 };

/** … and how many may: beyond that they are given at once, for each takes a descriptor. */
const HELD_MAX = 512;

/** Counts refusals, and holds back what is too many. */
export class HoldBack {
  readonly #free: Budget;
  #held = 0;

  constructor(private readonly clock: Clock) {
    this.#free = new Budget(FREE, "refusals", clock);
  }

  /** Resolves when one more refusal may be given. */
  async wait(): Promise<void> {
    if (this.#held >= HELD_MAX || this.#free.claim(ALL) === 0) return;
    this.#held++;
    await sleep(this.clock, HELD_MS.least + Math.random() * (HELD_MS.most - HELD_MS.least));
    this.#held--;
  }
}

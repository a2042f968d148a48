/**
 * Refusals that come in a flood are held back for a moment: whoever tries again as soon as it is refused then tries once
 * a second on each of its connections, and no longer as often as the server can refuse.
 * @module
 */
import { type Clock, sleep } from "../clock.ts";

/** So many refusals a second are given at once. */
const FREE_PER_SECOND = 50;

/** How long the others wait, and how many may: beyond that they are given at once, for each takes a descriptor. */
const HELD_MS = 1_000;
const HELD_MAX = 512;

/** Counts refusals, and holds back what is too many. */
export class HoldBack {
  #secondAt = Number.NEGATIVE_INFINITY;
  #given = 0;
  #held = 0;

  constructor(private readonly clock: Clock) {}

  /** Resolves when one more refusal may be given. */
  async wait(): Promise<void> {
    const now = this.clock.monotonic();
    if (now - this.#secondAt >= 1_000) {
      this.#secondAt = now;
      this.#given = 0;
    }
    if (++this.#given <= FREE_PER_SECOND || this.#held >= HELD_MAX) return;
    this.#held++;
    await sleep(this.clock, HELD_MS);
    this.#held--;
  }
}

/**
 * How many questions to an identity provider may be under way at once.
 *
 * Some are for tokens that are new, others for those of open connections. Neither kind may take all turns, so that a
 * flood of nonsense does not keep open connections from being confirmed, nor the reverse.
 * @module
 */
import type { Clock } from "../clock.ts";

/** What a question is for. */
export type Purpose = "open" | "confirm";

/** The bounds. */
export interface TurnLimits {
  /** Turns at a time. */
  readonly max: number;
  /** Of those, for one purpose. */
  readonly ofAKindMax: number;
  /** How many may wait. */
  readonly waitingMax: number;
  /** How long one may wait, milliseconds. */
  readonly waitMs: number;
}

interface Waiting {
  readonly purpose: Purpose;
  readonly begin: () => void;
}

/** Gives turns out, in order of arrival within a purpose. */
export class Turns {
  readonly #taken: Record<Purpose, number> = { open: 0, confirm: 0 };
  readonly #waiting = new Set<Waiting>();

  constructor(private readonly limits: TurnLimits, private readonly clock: Clock) {}

  /** How many are taken. */
  get taken(): number {
    return this.#taken.open + this.#taken.confirm;
  }

  /** How many wait for one. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes a turn, which must be given back; `false` if none is to be had in time. */
  take(purpose: Purpose): Promise<boolean> {
    if (this.#isFree(purpose)) {
      this.#taken[purpose]++;
      return Promise.resolve(true);
    }
    if (this.#waiting.size >= this.limits.waitingMax) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = this.clock.setTimer(this.limits.waitMs, () => {
        this.#waiting.delete(waiting);
        resolve(false);
      });
      const waiting: Waiting = {
        purpose,
        begin: () => {
          timer.cancel();
          resolve(true);
        },
      };
      this.#waiting.add(waiting);
    });
  }

  /** Gives a turn back, to whoever has waited for one the longest. */
  giveBack(purpose: Purpose): void {
    this.#taken[purpose]--;
    for (const waiting of this.#waiting) {
      if (!this.#isFree(waiting.purpose)) continue;
      this.#waiting.delete(waiting);
      this.#taken[waiting.purpose]++;
      waiting.begin();
      return;
    }
  }

  #isFree(purpose: Purpose): boolean {
    return this.taken < this.limits.max && this.#taken[purpose] < this.limits.ofAKindMax;
  }
}

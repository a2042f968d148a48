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
  /** How many may wait, for one purpose. */
  readonly waitingMax: number;
  /** How long one may wait, milliseconds. */
  readonly waitMs: number;
}

/** Called when the turn has come. */
type Waiting = () => void;

/** Gives turns out, in order of arrival within a purpose. */
export class Turns {
  readonly #taken: Record<Purpose, number> = { open: 0, confirm: 0 };
  readonly #waiting: Record<Purpose, Set<Waiting>> = { open: new Set(), confirm: new Set() };

  constructor(private readonly limits: TurnLimits, private readonly clock: Clock) {}

  /** How many are taken. */
  get taken(): number {
    return this.#taken.open + this.#taken.confirm;
  }

  /** How many wait for one. */
  get waiting(): number {
    return this.#waiting.open.size + this.#waiting.confirm.size;
  }

  /** Takes a turn, which must be given back; `false` if none is to be had in time. */
  take(purpose: Purpose): Promise<boolean> {
    if (this.#isFree(purpose)) {
      this.#taken[purpose]++;
      return Promise.resolve(true);
    }
    const waiting = this.#waiting[purpose];
    if (waiting.size >= this.limits.waitingMax) return Promise.resolve(false);
    return new Promise((resolve) => {
      const begin = () => {
        timer.cancel();
        waiting.delete(begin);
        this.#taken[purpose]++;
        resolve(true);
      };
      const timer = this.clock.setTimer(this.limits.waitMs, () => {
        waiting.delete(begin);
        resolve(false);
      });
      waiting.add(begin);
    });
  }

  /** Gives a turn back: to the one of the same purpose that has waited the longest, or else of the other. */
  giveBack(purpose: Purpose): void {
    this.#taken[purpose]--;
    for (const next of [purpose, purpose === "open" ? "confirm" : "open"] as const) {
      const [begin] = this.#waiting[next];
      if (begin !== undefined && this.#isFree(next)) return begin();
    }
  }

  #isFree(purpose: Purpose): boolean {
    return this.taken < this.limits.max && this.#taken[purpose] < this.limits.ofAKindMax;
  }
}

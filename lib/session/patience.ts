/**
 * How much of what is of no use a connection may send: requests that are refused before they cost a budget anything,
 * and acknowledgements of nothing. To answer or to drop them costs the others something, as often as they come.
 *
 * It is the user's, over all its connections: otherwise whoever is thrown out would begin anew. A client that does as it
 * is told when it is refused never comes near the end of it.
 * @module
 */
import type { ErrorName } from "../errors.ts";
import { PATIENCE, QUEUES } from "../limits.ts";

/** Refusals of what nothing was paid for. The others are paid for from a budget, or are the server's own fault. */
const UNPAID: ReadonlySet<ErrorName> = new Set([
  "unmarshal",
  "invalid_user_id",
  "unknown_type",
  "too_large",
  "rate_limited",
]);

/** Patience with one connection. Once it is over it stays so. */
export class Patience {
  #isOver = false;
  #ignored = 0;
  #dropped = 0;

  /**
   * @param bear takes so many units from what the user has left; returns whether there were as many.
   * @param over told once, when it is over.
   */
  constructor(private readonly bear: (units: number) => boolean, private readonly over: () => void) {}

  /** Whether nothing more is to be taken from the peer, not even acknowledgements: there may be no end of them. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * A request was refused.
   *
   * @param bytes of its payload: to take in a large one costs more.
   */
  refused(error: ErrorName, bytes: number): void {
    if (UNPAID.has(error)) this.#take(1 + Math.floor(bytes / PATIENCE.unitBytes));
  }

  /** Something came that was of no use, and needs no answer. */
  ignored(): void {
    if (++this.#ignored % PATIENCE.ignoredPerUnit === 0) this.#take(1);
  }

  /**
   * A request came when none was taken any more. A client that heeds the bounds has fewer under way; and to read what
   * others go on sending can keep the event loop from everything else, the end of this connection included.
   */
  dropped(): void {
    if (++this.#dropped > QUEUES.unansweredCloseMax) this.#isOver = true;
  }

  #take(units: number): void {
    if (this.#isOver || this.bear(units)) return;
    this.#isOver = true;
    this.over();
  }
}

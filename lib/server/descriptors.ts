/**
 * Whether the process can still open files and connections. Deno tells nobody how many descriptors it may have or has,
 * so some are opened for a moment to see.
 *
 * The spare ones are for what is needed beside connections: the database, and requests that must be refused. Without
 * any, the platform's server gives its listener up.
 * @module
 */
import type { Clock } from "../clock.ts";

/** How many must be free for another connection to be taken. */
const SPARE = 32;

/** How long, and for how many connections, the last look counts. */
const LOOK_MS = 250;
const LOOK_CONNECTIONS = 16;

/** Opens something that costs nothing but a descriptor. */
export type OpenOne = () => Disposable;

const openNothing: OpenOne = () => Deno.openSync("/dev/null");

/** Whether an error says that there are no descriptors left, in the process (EMFILE) or on the machine (ENFILE). */
function isExhausted(error: unknown): boolean {
  return error instanceof Error && /EMFILE|ENFILE|os error (23|24)\b/.test(error.message);
}

/** Looks whether there are enough. */
export class Descriptors {
  #lookedAt = Number.NEGATIVE_INFINITY;
  #connections = 0;
  #areEnough = true;

  constructor(private readonly clock: Clock, private readonly open: OpenOne = openNothing) {}

  /** Whether one more connection may be taken. Call it once for each. */
  suffice(): boolean {
    const now = this.clock.monotonic();
    if (now - this.#lookedAt >= LOOK_MS || ++this.#connections > LOOK_CONNECTIONS) {
      this.#lookedAt = now;
      this.#connections = 0;
      this.#areEnough = this.#look();
    }
    return this.#areEnough;
  }

  #look(): boolean {
    using opened = new DisposableStack();
    try {
      for (let i = 0; i < SPARE; i++) opened.use(this.open());
      return true;
    } catch (error) {
      // Where nothing can be opened for another reason, such as a missing permission, nobody knows: then all are taken.
      return !isExhausted(error);
    }
  }
}

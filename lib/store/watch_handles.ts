/**
 * Handles for watches of a KV Connect server, so many watches each.
 *
 * Deno's client sends all requests of a handle over one HTTP/2 connection, and a watch is a request that never ends. A
 * server allows some 200 of them at once (denokv: 200, measured): one more, and every request of the handle waits for ever,
 * reads and commits too. So watches have handles of their own, and none has many.
 * @module
 */
import { type Clock, withDeadline } from "../clock.ts";

/** Watches of one handle: what HTTP/2 recommends servers to allow at least, less a few for what the client itself asks. */
const WATCHES_MAX = 90;

/** How long a handle may take to open. */
const OPEN_MS = 5_000;

interface Held {
  readonly opening: Promise<Deno.Kv>;
  watches: number;
}

/** A place for one watch. */
export interface WatchPlace {
  readonly kv: Deno.Kv;
  /** The watch is over. */
  release(): void;
}

/** The handles, as many as there must be. */
export class WatchHandles {
  #held: Held[] = [];

  constructor(private readonly open: () => Promise<Deno.Kv>, private readonly clock: Clock) {}

  /** Finds a place for one more watch. */
  async take(): Promise<WatchPlace> {
    const held = this.#held.find(({ watches }) => watches < WATCHES_MAX) ?? this.#add();
    held.watches++;
    const release = () => {
      if (--held.watches === 0) this.#drop(held);
    };
    const kv = await withDeadline(this.clock, held.opening, OPEN_MS, null).catch(() => null);
    if (kv !== null) return { kv, release };
    this.#drop(held);
    throw new Error("no connection for a watch");
  }

  /** Ends every watch. Those who watch may begin again, on fresh handles. */
  close(): void {
    for (const held of this.#held.slice()) this.#drop(held);
  }

  #add(): Held {
    const held = { opening: this.open(), watches: 0 };
    this.#held.push(held);
    return held;
  }

  #drop(held: Held): void {
    const index = this.#held.indexOf(held);
    if (index < 0) return;
    this.#held.splice(index, 1);
    void held.opening.then((kv) => kv.close(), () => {});
  }
}

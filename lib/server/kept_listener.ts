/**
 * A listener that is opened again when it is lost: what a process that has run out of file descriptors comes to.
 *
 * The connections that there are go on meanwhile. A server that can't listen again for long says so, and ends.
 * @module
 */
import { type Clock, sleep } from "../clock.ts";
import { logger } from "../log.ts";

const log = logger("server");

/** How often it is tried to listen again, and the wait before each; jittered. */
const ATTEMPTS_MAX = 30;
const AGAIN_MS = 1_000;

/** What a listener gives. */
export type Listening = Pick<Deno.HttpServer<Deno.NetAddr>, "addr" | "finished" | "shutdown">;

/** Listens on one address until it is shut down. */
export class KeptListener implements Listening {
  readonly addr: Deno.NetAddr;
  /** Resolves when it was shut down; rejects if the address was lost and can't be had again. */
  readonly finished: Promise<void>;
  #listening: Listening;
  #isShutDown = false;

  /**
   * @param open listens on a port, or where the settings say; throws if it can't.
   * @throws what `open` throws.
   */
  constructor(private readonly clock: Clock, private readonly open: (port: number | null) => Listening) {
    this.#listening = open(null);
    this.addr = this.#listening.addr;
    this.finished = this.#keep();
    this.finished.catch(() => {}); // whoever wants to know asks for it
  }

  /** Takes no more, and waits for what is under way. */
  shutdown(): Promise<void> {
    this.#isShutDown = true;
    return this.#listening.shutdown();
  }

  async #keep(): Promise<void> {
    for (;;) {
      try {
        return await this.#listening.finished;
      } catch (error) {
        if (this.#isShutDown) return;
        log.error(
          "the listener was lost, and is opened again; if too many files are open, raise the limit (ulimit -n) " +
            "above the connections: {reason}",
          { reason: String(error) },
        );
        await this.#openAgain();
      }
    }
  }

  async #openAgain(): Promise<void> {
    for (let attempt = 1; !this.#isShutDown; attempt++) {
      await sleep(this.clock, AGAIN_MS * (0.5 + Math.random()));
      if (this.#isShutDown) return;
      try {
        this.#listening = this.open(this.addr.port);
        log.info("listening again, after {attempt} attempts", { attempt });
        return;
      } catch (error) {
        if (attempt >= ATTEMPTS_MAX) throw error;
      }
    }
  }
}

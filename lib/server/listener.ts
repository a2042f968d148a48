/**
 * The listener, which is had again if the platform loses it: Deno's server gives up when it can't accept, as when there
 * are no file descriptors left, while every open connection lives on.
 * @module
 */
import { type Clock, sleep } from "../clock.ts";
import { logger } from "../log.ts";

const log = logger("server");

/** How often it is tried again, and for how long: then whoever runs the process should know. */
const RETRY_MS = 500;
const TRIES_MAX = 120;

/** What listens. `addr` is where. */
type Http = Pick<Deno.HttpServer<Deno.NetAddr>, "addr" | "finished" | "shutdown">;

/** Listens, until it is told to stop. */
export class Listener {
  /** Resolves when it was told to stop and has; rejects if the listener was lost and can't be had again. */
  readonly finished: Promise<void>;
  /** Where it listens, the first time and every other. */
  readonly addr: Deno.NetAddr;
  #http: Http;
  #isStopping = false;

  /**
   * Begins to listen.
   *
   * @param listen listens on a port, or on the one of the settings if none is given.
   * @param lost told each time that the listener was lost.
   * @throws whatever `listen` throws the first time.
   */
  constructor(
    private readonly listen: (port?: number) => Http,
    private readonly clock: Clock,
    private readonly lost: () => void,
  ) {
    this.#http = listen();
    this.addr = this.#http.addr;
    this.finished = this.#watch();
    this.finished.catch(() => {}); // whoever wants to know waits for it as well
  }

  /** Stops listening, and waits until every request has been answered. */
  async shutdown(): Promise<void> {
    this.#isStopping = true;
    await this.#http.shutdown();
  }

  async #watch(): Promise<void> {
    while (!this.#isStopping) {
      try {
        return await this.#http.finished;
      } catch (error) {
        if (this.#isStopping) return;
        this.lost();
        log.error("the listener was lost, and is had again: {reason}", { reason: String(error) });
        await this.#again(error);
      }
    }
  }

  async #again(lostBy: unknown): Promise<void> {
    let reason = lostBy;
    for (let i = 0; i < TRIES_MAX && !this.#isStopping; i++) {
      await sleep(this.clock, RETRY_MS);
      if (this.#isStopping) return;
      try {
        this.#http = this.listen(this.addr.port);
        return log.info("listening again");
      } catch (error) {
        reason = error;
      }
    }
    if (!this.#isStopping) throw reason;
  }
}

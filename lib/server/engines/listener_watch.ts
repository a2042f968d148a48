/**
 * Finds out whether a listener of `node:http` still accepts: when the process is out of file descriptors, Deno's gives up
 * for good, without an event.
 *
 * So when nothing was accepted for some time, it connects to itself.
 * @module
 */
import type { Server } from "node:http";
import { connect, type Socket } from "node:net";

/** How often it looks, in milliseconds. */
const LOOK_MS = 5_000;

/** How many looks in a row must fail: a busy machine is no dead listener. */
const FAILURES = 4;

/** Watches a listener until `stop` is called, or the listener is lost. */
export class ListenerWatch {
  readonly #looking: ReturnType<typeof setInterval>;
  #isAlive = false;
  #failures = 0;
  #probe: Socket | null = null;

  /** @param lost told once that nothing is accepted any more. */
  constructor(
    http: Server,
    private readonly at: { readonly address: string; readonly port: number },
    private readonly lost: (error: Error) => void,
  ) {
    http.on("connection", this.#alive);
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Looks no more. */
  stop(): void {
    clearInterval(this.#looking);
    this.#probe?.destroy();
  }

  readonly #alive = (): void => {
    this.#isAlive = true;
  };

  #look(): void {
    const failed = this.#probe !== null && !this.#isAlive;
    this.#failures = failed ? this.#failures + 1 : 0;
    this.#probe?.destroy();
    this.#probe = null;
    if (this.#failures >= FAILURES) {
      this.stop();
      return this.lost(new Error("nothing is accepted any more: is the process out of file descriptors?"));
    }
    if (this.#isAlive) {
      this.#isAlive = false;
      return;
    }
    const probe = this.#probe = connect(this.at.port, this.at.address);
    // A server that has too many connections hangs up without another word: it lives.
    probe.once("end", this.#alive);
    probe.once("error", (error: Error & { readonly code?: string }) => {
      if (error.code === "ECONNRESET") this.#alive();
    });
    probe.resume();
  }
}

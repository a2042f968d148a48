/**
 * What is sent on a connection in one turn of the event loop leaves in one write.
 * @module
 */
import type { Socket } from "node:net";

/** The connections on which something was sent in this turn. */
export class Corks {
  readonly #corked = new Set<Socket>();

  /** Holds back what is written from here to the end of the turn. */
  cork(socket: Socket): void {
    if (this.#corked.has(socket)) return;
    if (this.#corked.size === 0) setImmediate(() => this.#uncork());
    this.#corked.add(socket);
    socket.cork();
  }

  #uncork(): void {
    const corked = [...this.#corked];
    this.#corked.clear();
    for (const socket of corked) socket.uncork();
  }
}

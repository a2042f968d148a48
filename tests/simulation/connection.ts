/**
 * One connection: a client's end, a server's end, and a network between them that keeps the order in each direction
 * until it is cut.
 */
import type { Timer } from "../../lib/clock.ts";
import type { Address } from "../../lib/address.ts";
import type { MailboxEntry } from "../../lib/service/mod.ts";
import type { Session, Socket } from "../../lib/session/mod.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { ServerProcess } from "./server_process.ts";

/** What the client's end hears. */
export interface ClientEnd {
  opened(connection: Connection): void;
  received(connection: Connection, bytes: Uint8Array): void;
  closed(connection: Connection, code: number): void;
}

/** What an onlooker sees at the server's end, at the very moment. */
export interface Onlooker {
  /** Which message the sequence of a delivery stands for: told before it is sent. */
  delivers(connection: Connection, sequence: number, entry: MailboxEntry): void;
  serverSent(connection: Connection, bytes: Uint8Array): void;
  serverTook(connection: Connection, bytes: Uint8Array): void;
  connectionEnded(connection: Connection): void;
}

const ABNORMAL = 1006;
const LATENCY_MS = 3;
/** How long the server waits for the answer to its close. */
const CLOSE_MS = 5_000;
/** The longest time in which a server does not notice that a connection was cut. */
const HALF_OPEN_MS = 40_000;
/** What keeps two frames of one direction apart. */
const GAP_MS = 0.001;

/** A connection. */
export class Connection implements Socket {
  /** Until when the client does not read. */
  pausedUntil = 0;
  bufferedAmount = 0;
  readonly openedAt: number;
  #session: Session | null = null;
  #toServerAt = 0;
  #toClientAt = 0;
  #isCut = false;
  #isServerClosing = false;
  #hasServerEnded = false;
  #hasClientEnded = false;
  #patience: Timer | null = null;

  /** The simulated platform reads on, as Deno's server does. */
  pause(): void {}

  resume(): void {}

  constructor(
    readonly id: number,
    readonly address: Address,
    readonly version: 1 | 2,
    readonly process: ServerProcess,
    private readonly client: ClientEnd,
    private readonly onlooker: Onlooker,
    private readonly scheduler: Scheduler,
    private readonly random: Random,
  ) {
    this.openedAt = scheduler.elapsed;
    this.#toServer(() => this.#open());
  }

  /** Whether the client may still send. */
  get isOpen(): boolean {
    return this.#session !== null && !this.#hasClientEnded;
  }

  /** Whether the server has not seen its end. */
  get isKnownToServer(): boolean {
    return this.#session !== null && !this.#hasServerEnded;
  }

  /** The client sends a frame; `twice` if the network, or the client's own retry, doubles it. */
  clientSends(bytes: Uint8Array, twice: boolean): void {
    for (let i = twice ? 2 : 1; i > 0; i--) this.#toServer(() => this.#take(bytes.slice()));
  }

  /** The client ends the connection as it should. */
  clientCloses(): void {
    if (this.#hasClientEnded) return;
    this.#toServer(() => this.#endServer(1000));
    this.#endClient(1000);
  }

  /** The connection breaks: the client sees it, the server may not for a while. */
  cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.scheduler.trace(`connection ${this.id} is cut`);
    this.#endClient(ABNORMAL);
    const waitMs = this.random.chance(0.5) ? 0 : this.random.between(0, HALF_OPEN_MS);
    this.scheduler.after(waitMs, () => this.#endServer(ABNORMAL));
  }

  /** The server sends. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#isServerClosing || this.#hasServerEnded || this.process.isGone) return;
    this.bufferedAmount += bytes.length;
    this.onlooker.serverSent(this, bytes);
    const copy = bytes.slice();
    this.#toClient(() => {
      this.bufferedAmount -= bytes.length;
      if (!this.#hasClientEnded) this.client.received(this, copy);
    });
  }

  /** The server closes. */
  close(code: number): void {
    if (this.#isServerClosing || this.#hasServerEnded || this.process.isGone) return;
    this.#isServerClosing = true;
    this.#toClient(() => {
      this.#endClient(code);
      this.#toServer(() => this.#endServer(code));
    });
    this.#patience = this.scheduler.after(CLOSE_MS, () => this.#endServer(ABNORMAL));
  }

  #open(): void {
    if (!this.process.isUp) return this.#endClient(ABNORMAL);
    this.process.onGone.add(this.#processGone);
    this.#session = this.process.open(this, this, (sequence, entry) => {
      this.onlooker.delivers(this, sequence, entry);
    });
    this.#toClient(() => !this.#hasClientEnded && this.client.opened(this));
  }

  readonly #processGone = () => {
    this.#hasServerEnded = true;
    this.#isCut = true;
    this.onlooker.connectionEnded(this);
    this.scheduler.after(this.random.wait(LATENCY_MS), () => this.#endClient(ABNORMAL));
  };

  #take(bytes: Uint8Array): void {
    if (this.#hasServerEnded || this.#isServerClosing || this.process.isGone) return;
    this.onlooker.serverTook(this, bytes);
    this.#session?.receive(bytes);
  }

  #endServer(code: number): void {
    if (this.#hasServerEnded || this.#session === null) return;
    this.#hasServerEnded = true;
    this.#patience?.cancel();
    this.process.onGone.delete(this.#processGone);
    this.process.sessions.delete(this.#session);
    this.scheduler.trace(`connection ${this.id} ends with ${code}`);
    this.#session.closed(code);
    this.onlooker.connectionEnded(this);
  }

  #endClient(code: number): void {
    if (this.#hasClientEnded) return;
    this.#hasClientEnded = true;
    this.client.closed(this, code);
  }

  #toServer(arrives: () => void): void {
    const now = this.scheduler.elapsed;
    this.#toServerAt = Math.max(this.#toServerAt + GAP_MS, now + this.random.wait(LATENCY_MS));
    this.scheduler.after(this.#toServerAt - now, () => this.#isCut || arrives());
  }

  #toClient(arrives: () => void): void {
    const now = this.scheduler.elapsed;
    this.#toClientAt = Math.max(
      this.#toClientAt + GAP_MS,
      now + this.random.wait(LATENCY_MS),
      this.pausedUntil,
    );
    this.scheduler.after(this.#toClientAt - now, () => this.#isCut || arrives());
  }
}

/**
 * Where requests come in: each is answered, refused, or let in as a connection, whichever engine reads it.
 * @module
 */
import { type Clock, withDeadline } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Identity } from "../identity/mod.ts";
import { logger } from "../log.ts";
import { Metrics } from "../metrics.ts";
import { Admission } from "./admission.ts";
import type { Asked, Connected, Upgrade } from "./engine.ts";
import { HoldBack } from "./hold_back.ts";
import { type Offer, readOffer } from "./offer.ts";
import { Refusal } from "./refusal.ts";
import { Remotes } from "./remote.ts";
import { READY_MS, serveRoute } from "./routes.ts";

const log = logger("server");

/** When a client whose connection was refused while the server stops may try again. */
const DRAINING_RETRY_SECONDS = 5;

/** What is behind the entrance. */
export interface Inside {
  /** Whether the server stops. */
  isDraining(): boolean;
  /** Whether storage answers. */
  storageAnswers(): Promise<boolean>;
  /** A connection was let in; `ended` must be called when it is over. */
  connected(offer: Offer, identity: Identity, ended: () => void): Connected;
}

/** Lets in who may come in. */
export class Entrance {
  readonly #admission: Admission;
  readonly #holdBack: HoldBack;
  readonly #remotes: Remotes;
  #storageCheck: Promise<boolean> | null = null;

  constructor(
    private readonly config: Config,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
    authenticator: ConstructorParameters<typeof Admission>[1],
    refusals: ConstructorParameters<typeof Admission>[3],
    private readonly inside: Inside,
  ) {
    this.#admission = new Admission(config, authenticator, clock, refusals);
    this.#holdBack = new HoldBack(clock);
    this.#remotes = new Remotes(config.trustedProxies ?? []);
  }

  /** How many connections there are. */
  get connectionCount(): number {
    return this.#admission.count;
  }

  /** Forgets whom no limit holds up any more. Call it about once a second. */
  sweep(): void {
    this.#admission.sweep();
  }

  /** See `Serve`. */
  async serve<T>(asked: Asked, remoteHost: string | null, upgrade: Upgrade<T>): Promise<Response | T> {
    this.metrics.counts.requestsServed++;
    try {
      const status = { isDraining: this.inside.isDraining(), checkStorage: () => this.#checkStorage() };
      const context = { config: this.config, metrics: this.metrics, status };
      return await serveRoute(asked, remoteHost, context) ?? await this.#connect(asked, remoteHost, upgrade);
    } catch (error) {
      if (error instanceof Refusal) {
        Metrics.count(this.metrics.refusals, error.status);
        if (!this.inside.isDraining()) await this.#holdBack.wait();
        return error.toResponse();
      }
      log.error("a request failed: {reason}", {
        reason: error instanceof Error ? error.stack : String(error),
      });
      return new Refusal("internal", "a fault of the server").toResponse();
    }
  }

  async #connect<T>(asked: Asked, remoteHost: string | null, upgrade: Upgrade<T>): Promise<T> {
    const offer = readOffer(asked);
    const remote = this.#remotes.keyOf(asked, remoteHost);
    const origin = asked.headers.get("origin");
    this.#requireServing();
    const identity = await this.#admission.admit(offer, origin, remote);
    const { address } = offer; // not the token, which nobody needs any more
    const ended = () => this.#admission.release(address, remote);
    try {
      this.#requireServing(); // it may have begun to stop while the token was verified
      return upgrade(offer.subprotocol, this.inside.connected(offer, identity, ended));
    } catch (error) {
      ended();
      throw error;
    }
  }

  #requireServing(): void {
    if (!this.inside.isDraining()) return;
    throw new Refusal("draining", "the server is stopping", DRAINING_RETRY_SECONDS);
  }

  async #checkStorage(): Promise<boolean> {
    // However many ask, storage is asked once at a time.
    this.#storageCheck ??= this.inside.storageAnswers().finally(() => this.#storageCheck = null);
    return await withDeadline(this.clock, this.#storageCheck, READY_MS, false);
  }
}

/**
 * Who may open a connection: rates, room, then token, then whether the token is for this address (protocol §1).
 *
 * Room for one more user's connection is judged after the token, so that a stranger learns nothing of a user.
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import { type Config, isLoopback } from "../config.ts";
import type { Clock } from "../clock.ts";
import {
  AuthenticationError,
  AuthenticationUnavailable,
  type Authenticator,
  type Identity,
} from "../identity/mod.ts";
import { Arrivals } from "./arrivals.ts";
import { Descriptors } from "./descriptors.ts";
import type { Offer } from "./offer.ts";
import { Refusal } from "./refusal.ts";

/** When to try again after a connection was refused for want of room. */
const FULL_RETRY_SECONDS = 10;

/** How many times its limit a user may have in connections, those that gave way to others included. */
const LINGERING = 4;

type AdmissionConfig =
  & ConstructorParameters<typeof Arrivals>[0]
  & Pick<Config, "connectionsMax" | "userConnectionsMax" | "remoteConnectionsMax" | "host">;

/** Counts connections, and admits new ones. */
export class Admission {
  readonly #byUser = new Map<string, Map<string, number>>();
  readonly #byRemote = new Map<string, number>();
  readonly #arrivals: Arrivals;
  #count = 0;

  /**
   * @param refusals see `Arrivals`.
   * @param descriptors whether the process can open anything more.
   */
  constructor(
    private readonly config: AdmissionConfig,
    private readonly authenticator: Authenticator,
    clock: Clock,
    refusals: ConstructorParameters<typeof Arrivals>[2],
    private readonly descriptors: Pick<Descriptors, "suffice"> = new Descriptors(clock),
  ) {
    this.#arrivals = new Arrivals(config, clock, refusals);
  }

  /** How many connections there are, those in their handshake included. */
  get count(): number {
    return this.#count;
  }

  /**
   * Admits a connection, and counts it: `release` must be called when it is over.
   *
   * @param remote see `Remote.key`.
   * @throws {Refusal} `overloaded`, `too_many_connections`, `unauthorized`, `unavailable`, `too_many_tokens` or
   * `forbidden`.
   */
  async admit(offer: Offer, origin: string | null, remote: string | null): Promise<Identity> {
    this.#requireRoom(remote);
    this.#add(remote);
    try {
      const identity = await this.#identify(offer, origin, remote);
      this.#enter(offer.address);
      return identity;
    } catch (error) {
      this.#remove(remote);
      throw error;
    }
  }

  /** Those who are not known yet: as little as possible is done for them. */
  #requireRoom(remote: string | null): void {
    if (!this.descriptors.suffice()) {
      throw new Refusal("overloaded", "the server can't open more connections", FULL_RETRY_SECONDS);
    }
    if (remote !== null && (this.#byRemote.get(remote) ?? 0) >= this.config.remoteConnectionsMax) {
      throw new Refusal(
        "too_many_connections",
        "too many connections from this remote address",
        FULL_RETRY_SECONDS,
      );
    }
    if (this.#count >= this.config.connectionsMax) {
      throw new Refusal(
        "too_many_connections",
        "the server has as many connections as it takes",
        FULL_RETRY_SECONDS,
      );
    }
    this.#arrivals.knock(remote);
  }

  #add(remote: string | null): void {
    this.#count++;
    if (remote !== null) this.#byRemote.set(remote, (this.#byRemote.get(remote) ?? 0) + 1);
  }

  #remove(remote: string | null): void {
    this.#count--;
    if (remote === null) return;
    const left = (this.#byRemote.get(remote) ?? 1) - 1;
    if (left > 0) this.#byRemote.set(remote, left);
    else this.#byRemote.delete(remote);
  }

  /** Forgets whom no rate holds up any more. Call it about once a second. */
  sweep(): void {
    this.#arrivals.sweep();
  }

  /** A connection that was admitted is over. */
  release(address: Address, remote: string | null): void {
    this.#remove(remote);
    const devices = this.#byUser.get(address.userId);
    if (devices === undefined) return;
    const key = addressKey(address);
    const left = (devices.get(key) ?? 1) - 1;
    if (left > 0) devices.set(key, left);
    else devices.delete(key);
    if (devices.size === 0) this.#byUser.delete(address.userId);
  }

  async #identify(
    { address, token }: Offer,
    origin: string | null,
    remote: string | null,
  ): Promise<Identity> {
    if (this.authenticator.isOpen) {
      this.#requireThisMachine(origin);
      return await this.authenticator.authenticate(null);
    }
    let identity: Identity;
    try {
      identity = await this.authenticator.authenticate(token, remote);
    } catch (error) {
      if (error instanceof AuthenticationError) throw new Refusal("unauthorized", error.message);
      if (error instanceof AuthenticationUnavailable) {
        const reason = error.isFlood ? "too_many_tokens" : "unavailable";
        throw new Refusal(reason, error.message, error.retryAfterSeconds);
      }
      throw error;
    }
    if (identity.userId !== null && identity.userId !== address.userId) {
      throw new Refusal("forbidden", "the token is for another user");
    }
    if (identity.deviceId !== null && identity.deviceId !== address.deviceId) {
      throw new Refusal("forbidden", "the token is for another device");
    }
    return identity;
  }

  /** Without tokens, any web page that a user of this machine opens could connect. */
  #requireThisMachine(origin: string | null): void {
    if (origin === null) return;
    const { hostname } = URL.parse(origin) ?? { hostname: "" };
    if (isLoopback(hostname) || hostname === this.config.host) return;
    throw new Refusal("forbidden", "AUTH_MODE=none takes no requests from web pages of other machines");
  }

  /** Connections of one address that give way to each other count once. */
  #enter(address: Address): void {
    const devices = this.#byUser.get(address.userId) ?? new Map<string, number>();
    const key = addressKey(address);
    const { userConnectionsMax } = this.config;
    // Those that gave way, and whose peer does not answer the close, are there for some seconds more.
    const all = [...devices.values()].reduce((sum, count) => sum + count, 0);
    if ((!devices.has(key) && devices.size >= userConnectionsMax) || all >= LINGERING * userConnectionsMax) {
      throw new Refusal(
        "too_many_connections",
        `the user has ${all} connections, and no more are allowed`,
        FULL_RETRY_SECONDS,
      );
    }
    this.#arrivals.enter(address, devices.has(key));
    devices.set(key, (devices.get(key) ?? 0) + 1);
    this.#byUser.set(address.userId, devices);
  }
}

/**
 * Who is connected to this process, and how a device learns that something is there for it.
 *
 * Rule: commit, then ring. What is durable is handed to the connection that has the address in this process; if there
 * is none, the address's bell is rung in storage, where its connection watches. Another process may have taken the
 * address without our knowing yet: then the connection here soon hears of it, and rings for what it was handed and did
 * not get acknowledged; and the new one looks once its claim is durable.
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import type { Clock } from "../clock.ts";
import { TIMES } from "../limits.ts";
import type { MailboxEntry, Store } from "../store/mod.ts";
import { Acknowledged } from "./acknowledged.ts";

/** What a connection hears. None of these may throw or wait. */
export interface Listener {
  /** A message for it is durable. */
  handOver(entry: MailboxEntry): void;
  /** Something may wait in storage. */
  woken(): void;
  /** Its one-time prekeys run low. */
  preKeysLow(): void;
  /** A newer connection has its address. */
  replaced(): void;
  /** Its device was unregistered by another one of its user. */
  unregistered(): void;
}

/** What rings a bell within a commit. */
export type Ring = ReturnType<Store["sessions"]["bell"]>;

/** What this process knows of an address that has, or just had, a connection here. */
export interface Presence {
  owner: Listener | null;
  readonly acknowledged: Acknowledged;
  /** When the last connection left, by the monotonic clock. */
  leftAt: number;
}

/** The connections of this process, by address. */
export class Doorbell {
  readonly #presences = new Map<string, Presence>();

  constructor(private readonly sessions: Store["sessions"], private readonly clock: Clock) {}

  /** A connection takes its address; the one that had it is told that it is replaced. */
  enter(address: Address, listener: Listener): Presence {
    const key = addressKey(address);
    let presence = this.#presences.get(key);
    if (presence === undefined) {
      presence = { owner: null, acknowledged: new Acknowledged(this.clock), leftAt: 0 };
      this.#presences.set(key, presence);
    }
    const before = presence.owner;
    presence.owner = listener;
    before?.replaced();
    return presence;
  }

  /**
   * A connection is over, or has lost its address.
   *
   * @param hasUnacknowledged whether messages were handed to it that it did not acknowledge: whoever has the address
   * next must look.
   */
  leave(address: Address, listener: Listener, hasUnacknowledged: boolean): void {
    const presence = this.#presences.get(addressKey(address));
    if (presence?.owner === listener) {
      presence.owner = null;
      presence.leftAt = this.clock.monotonic();
    }
    // A next owner in this process begins by looking; one in another process may have looked already.
    if (hasUnacknowledged && this.sessions.isShared) this.sessions.ring(address, "wake");
  }

  /**
   * What the commit of a message rings, so that a recipient at another process is woken by it even if this process ends
   * before it can ring; `null` if nobody else has the database, or the recipient is here.
   */
  ringOf(address: Address): Ring | null {
    return this.sessions.isShared && !this.isConnected(address) ? this.sessions.bell(address, "wake") : null;
  }

  /**
   * A message is durable.
   *
   * @param wasRung whether its commit rang the bell.
   */
  handOver(address: Address, entry: MailboxEntry, wasRung = false): void {
    const owner = this.#owner(address);
    if (owner !== null) owner.handOver(entry);
    else if (!wasRung) this.sessions.ring(address, "wake");
  }

  /** Something became durable for an address, which could not be handed over. */
  wake(address: Address): void {
    const owner = this.#owner(address);
    if (owner === null) this.sessions.ring(address, "wake");
    else owner.woken();
  }

  /** The one-time prekeys of an address run low. */
  preKeysLow(address: Address): void {
    const owner = this.#owner(address);
    if (owner === null) this.sessions.ring(address, "low");
    else owner.preKeysLow();
  }

  /** Whether the address has a connection in this process. */
  isConnected(address: Address): boolean {
    return this.#owner(address) !== null;
  }

  /** A device was unregistered by another one of its user. */
  unregistered(address: Address): void {
    this.#owner(address)?.unregistered();
  }

  /** Forgets addresses that have been left for long, and what was acknowledged long ago. Call it now and then. */
  sweep(): void {
    const now = this.clock.monotonic();
    for (const [key, { owner, acknowledged, leftAt }] of this.#presences) {
      if (owner === null && now - leftAt > TIMES.acknowledgedMs) this.#presences.delete(key);
      else if (acknowledged.size > 0) acknowledged.sweep();
    }
  }

  #owner(address: Address): Listener | null {
    return this.#presences.get(addressKey(address))?.owner ?? null;
  }
}

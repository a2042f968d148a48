/**
 * Who is connected to this process, and how a device learns that something is there for it.
 *
 * Rule: commit, then ring. What is durable is handed to the connection that has the address in this process; if there is
 * none, the process that has it is rung in storage. Another process may have taken the address without our knowing yet:
 * then the connection here soon hears of it, and when it leaves, the next owner is rung; and a connection that has become
 * the owner looks.
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import { type Clock, sleep } from "../clock.ts";
import { TIMES } from "../limits.ts";
import type { Bell, MailboxEntry, SessionRecord, Store } from "../store/mod.ts";
import { Acknowledged } from "./acknowledged.ts";

/** The wait before something that storage refused is tried again. */
const RETRY_MS = 1_000;

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

/** What this process knows of an address that has, or just had, a connection here. */
export interface Presence {
  owner: Listener | null;
  /** The version of the session record with which the owner became it; `null` until then. */
  claim: string | null;
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
      presence = { owner: null, claim: null, acknowledged: new Acknowledged(this.clock), leftAt: 0 };
      this.#presences.set(key, presence);
    }
    const before = presence.owner;
    presence.owner = listener;
    presence.claim = null;
    before?.replaced();
    return presence;
  }

  /** The connection that has the address here has it by storage too, with this version of the record. */
  claimed(address: Address, listener: Listener, version: string): void {
    const presence = this.#presences.get(addressKey(address));
    if (presence?.owner === listener) presence.claim = version;
  }

  /** A connection is over, or has lost its address. */
  leave(address: Address, listener: Listener): void {
    const presence = this.#presences.get(addressKey(address));
    if (presence?.owner === listener) {
      presence.owner = null;
      presence.leftAt = this.clock.monotonic();
    }
    // A next owner in this process begins by looking; one in another process may have looked too early for what was
    // handed over here.
    this.sessions.ring(address, "wake");
  }

  /** Hears what this process is rung for, until `signal` is aborted. */
  async listen(signal: AbortSignal): Promise<void> {
    if (this.sessions.isShared) {
      await this.sessions.listen(signal, (address, bell) => this.#rung(address, bell));
    }
  }

  /** A message is durable. */
  handOver(address: Address, entry: MailboxEntry): void {
    const owner = this.#owner(address);
    if (owner === null) this.sessions.ring(address, "wake");
    else owner.handOver(entry);
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

  #rung(address: Address, bell: Bell): void {
    const owner = this.#owner(address);
    if (bell === "session") void this.#judgeOwner(address);
    else if (owner === null) {
      void this.sessions.pass(address, bell, () => this.isConnected(address)).catch(() => {}); // already in the log
    } else if (bell === "wake") owner.woken();
    else owner.preKeysLow();
  }

  /** Somebody else has, or ended, what a connection here has, unless it has claimed it again since. */
  async #judgeOwner(address: Address): Promise<void> {
    const presence = this.#presences.get(addressKey(address));
    const owner = presence?.owner ?? null;
    while (presence !== undefined && owner !== null && presence.owner === owner && presence.claim !== null) {
      let record: SessionRecord | null;
      try {
        record = await this.sessions.read(address);
      } catch {
        await sleep(this.clock, RETRY_MS * (0.5 + Math.random()));
        continue;
      }
      if (record === null || record.owner === "here" || presence.owner !== owner) return;
      if (presence.claim === null || record.versionstamp <= presence.claim) return;
      if (record.owner === "unregistered") owner.unregistered();
      else owner.replaced();
      return;
    }
  }

  #owner(address: Address): Listener | null {
    return this.#presences.get(addressKey(address))?.owner ?? null;
  }
}

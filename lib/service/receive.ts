/**
 * Receiving: what a connection does to get the messages of its address, and to be rid of them (protocol §5).
 * @module
 */
import type { Address } from "../address.ts";
import { sleep } from "../clock.ts";
import { TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import type { MailboxEntry } from "../store/mod.ts";
import type { Core } from "./core.ts";
import type { Listener, Presence } from "./doorbell.ts";

const log = logger("service");

/** The wait before something that storage refused is tried again. */
const RETRY_MS = 1_000;

/** What a connection learns about its device when it opens. */
export interface OwnDevice {
  readonly epoch: string;
  /** How many one-time prekeys are left, counted up to the limit of PreKeysLow. */
  readonly preKeys: number;
}

/** One connection's place at its address. */
export class Receiver {
  readonly #connectionId = crypto.getRandomValues(new Uint8Array(16));
  readonly #left = new AbortController();
  readonly #presence: Presence;

  /** Takes the address: from here on the listener hears, and the connection before it is replaced. */
  constructor(
    private readonly core: Core,
    readonly address: Address,
    private readonly listener: Listener,
  ) {
    this.#presence = core.doorbell.enter(address, listener);
    void this.#listen();
  }

  /** Whether the place was given up. */
  get hasLeft(): boolean {
    return this.#left.signal.aborted;
  }

  /** Reads what is known of the device, and writes down that it was seen. Tried again until it works or is left. */
  async readOwnDevice(): Promise<OwnDevice | null> {
    const { store, config, clock } = this.core;
    while (!this.hasLeft) {
      try {
        const device = await store.devices.read(this.address);
        if (device === null) return null;
        const { epoch, seenAt } = device.record;
        const now = clock.now();
        if (now - seenAt > TIMES.seenMs) {
          void store.registrations.seen(this.address, device, now).catch(() => {});
        }
        return { epoch, preKeys: await store.preKeys.count(this.address, epoch, config.preKeysLow) };
      } catch (error) {
        log.warn("a mailbox can't be opened yet: {reason}", { reason: String(error) });
        await sleep(clock, RETRY_MS * (0.5 + Math.random()));
      }
    }
    return null;
  }

  /**
   * Reads from the head of the mailbox what may be delivered: neither expired nor acknowledged.
   *
   * @param limit how many rows are looked at.
   * @param wants told each entry in order; says whether it wants more.
   * @returns whether the end was reached: nothing more waited when this began.
   * @throws {RequestError} `unavailable`.
   */
  async read(epoch: string, limit: number, wants: (entry: MailboxEntry) => boolean): Promise<boolean> {
    const { acknowledged } = this.#presence;
    const now = this.core.clock.now();
    acknowledged.readBegins();
    try {
      const rows = limit + Math.min(acknowledged.size, limit);
      return await this.core.store.mailboxes.page(this.address, epoch, rows, (entry) => {
        if (acknowledged.has(entry.idKey)) return true;
        if (entry.expiresAt > now) return wants(entry);
        this.#remove(entry, false);
        return true;
      });
    } finally {
      acknowledged.readEnds();
    }
  }

  /** Whether a message was acknowledged at this address: then it must not be delivered again. */
  wasAcknowledged(entry: MailboxEntry): boolean {
    return this.#presence.acknowledged.has(entry.idKey);
  }

  /**
   * The recipient has the message for good.
   *
   * @param wasRead whether it came out of storage rather than by hand-over.
   */
  acknowledge(entry: MailboxEntry, wasRead: boolean): void {
    this.core.metrics.counts.messagesAcknowledged++;
    // If its sender's commit is still on the way back to us, it may be handed over yet.
    const age = this.core.clock.now() - entry.timestamp;
    this.#remove(entry, wasRead && Math.abs(age) < TIMES.acknowledgedMs);
  }

  /** Gives the place up. */
  leave(hasUnacknowledged: boolean): void {
    if (this.hasLeft) return;
    this.#left.abort();
    this.core.doorbell.leave(this.address, this.listener, hasUnacknowledged);
  }

  #remove(entry: MailboxEntry, mayComeAgain: boolean): void {
    const { core, address } = this;
    const { acknowledged } = this.#presence;
    acknowledged.add(entry.idKey);
    core.depths.release(address, entry.epoch, entry.ciphertext.length);
    const remove = (attempts: number): void => {
      core.store.mailboxes.remove(address, entry.epoch, entry.id, (error) => {
        if (error === null || attempts === 0) {
          acknowledged.deleted(entry.idKey, mayComeAgain || error !== null);
        } // Storage swallowed it: until it is back, the message is only remembered.
        else core.clock.setTimer(RETRY_MS * (0.5 + Math.random()), () => remove(attempts - 1));
      });
    };
    remove(REMOVE_ATTEMPTS);
  }

  /** Claims the address in storage and listens there, for as long as the place is kept. */
  async #listen(): Promise<void> {
    const { store, clock } = this.core;
    const { signal } = this.#left;
    while (!signal.aborted) {
      try {
        const version = await store.sessions.claim(this.address, this.#connectionId);
        if (signal.aborted) return;
        const renewal = clock.setTimer(TIMES.sessionRenewMs, () => this.#renew());
        signal.addEventListener("abort", () => renewal.cancel(), { once: true });
        await store.sessions.watch(this.address, this.#connectionId, version, signal, this.listener);
      } catch (error) {
        log.warn("an address can't be claimed yet: {reason}", { reason: String(error) });
        await sleep(clock, RETRY_MS * (0.5 + Math.random()));
      }
    }
  }

  /** Rewrites the session record before it expires. */
  #renew(): void {
    const { store, clock } = this.core;
    void store.sessions.claim(this.address, this.#connectionId).catch(() => {});
    const renewal = clock.setTimer(TIMES.sessionRenewMs, () => this.#renew());
    this.#left.signal.addEventListener("abort", () => renewal.cancel(), { once: true });
  }
}

/** How often a deletion is tried: over a minute, far beyond any hiccup. */
const REMOVE_ATTEMPTS = 60;

/**
 * Receiving: what a connection does to get the messages of its address, and to be rid of them (protocol §5).
 * @module
 */
import type { Address } from "../address.ts";
import { sleep } from "../clock.ts";
import type { RequestError } from "../errors.ts";
import { TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import type { LostReport, MailboxEntry } from "../store/mod.ts";
import type { Core } from "./core.ts";
import type { Listener, Presence } from "./doorbell.ts";

const log = logger("service");

/** The wait before something that storage refused is tried again. */
const RETRY_MS = 1_000;

/** How often a deletion is tried: over a minute, far beyond any hiccup. */
const REMOVE_ATTEMPTS = 60;

/** How often within DEVICE_UNSEEN it is written down that a device was seen. */
const SEEN_PER_UNSEEN = 8;

/** What a connection learns about its device when it opens. */
export interface OwnDevice {
  readonly epoch: string;
  readonly registrationId: number;
  /** How many one-time prekeys are left. */
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

  /**
   * Reads what is known of the device, and writes down that it was seen.
   *
   * @returns `null` if the device is not registered.
   * @throws {RequestError} `unavailable`.
   */
  async readOwnDevice(): Promise<OwnDevice | null> {
    const { store, clock } = this.core;
    const { device, list } = await store.devices.readWithList(this.address);
    const listed = list.devices.get(this.address.deviceId);
    if (device === null || listed === undefined) return null;
    const { epoch, seenAt } = device.record;
    const now = clock.now();
    // Often enough that nobody who comes back in time counts as unseen.
    const seenMs = Math.min(TIMES.seenMs, this.core.config.deviceUnseenMs / SEEN_PER_UNSEEN);
    if (now - seenAt > seenMs) void store.registrations.seen(this.address, device, now).catch(() => {});
    return {
      epoch,
      registrationId: listed.registrationId,
      preKeys: await store.preKeys.count(this.address, epoch),
    };
  }

  /** The same, tried again until storage answers or the place is given up. */
  async awaitOwnDevice(): Promise<OwnDevice | null> {
    while (!this.hasLeft) {
      try {
        return await this.readOwnDevice();
      } catch (error) {
        log.warn("a mailbox can't be opened yet: {reason}", { reason: String(error) });
        await sleep(this.core.clock, RETRY_MS * (0.5 + Math.random()));
      }
    }
    return null;
  }

  /**
   * Reads from the head of the mailbox what may be delivered: not under way, nor acknowledged, nor expired.
   *
   * @param limit how many rows are looked at.
   * @param wants told each entry in order; says whether it wants more.
   * @returns whether the end was reached: nothing more waited when this began.
   * @throws {RequestError} `unavailable`.
   */
  async read(
    epoch: string,
    limit: number,
    isUnderWay: (entry: MailboxEntry) => boolean,
    wants: (entry: MailboxEntry) => boolean,
  ): Promise<boolean> {
    const { acknowledged } = this.#presence;
    const now = this.core.clock.now();
    acknowledged.readBegins();
    try {
      const rows = limit + Math.min(acknowledged.size, limit);
      return await this.core.store.mailboxes.page(this.address, epoch, rows, (entry) => {
        if (isUnderWay(entry) || acknowledged.has(entry.idKey)) return true;
        if (entry.expiresAt > now) return wants(entry);
        this.#remove(entry, { mayComeAgain: false, isExpired: true });
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
    this.#remove(entry, { mayComeAgain: wasRead && Math.abs(age) < TIMES.acknowledgedMs, isExpired: false });
  }

  /** Gives the place up. */
  leave(hasUnacknowledged: boolean): void {
    if (this.hasLeft) return;
    this.#left.abort();
    this.core.doorbell.leave(this.address, this.listener, hasUnacknowledged);
  }

  /** How many messages the mailbox lost since somebody was told, and what to clear when that is done. */
  async readLost(epoch: string): Promise<{ lost: number; report: LostReport }> {
    // What was lost, or told, a moment ago may still be on its way to storage.
    await this.core.store.writer.flushed(this.address.userId);
    return await this.core.store.waiting.read(this.address, epoch);
  }

  /** The owner knows of what was lost. */
  clearLost(epoch: string, report: LostReport): void {
    this.core.store.waiting.clear(this.address, epoch, report);
  }

  #remove(
    entry: MailboxEntry,
    { mayComeAgain, isExpired }: { readonly mayComeAgain: boolean; readonly isExpired: boolean },
  ): void {
    const { core, address } = this;
    const { mailboxes } = core.store;
    const { acknowledged } = this.#presence;
    if (acknowledged.has(entry.idKey)) return;
    acknowledged.add(entry.idKey);
    const counted = { bytes: entry.ciphertext.length, transient: entry.transient };
    core.depths.left(address, entry.epoch, counted);
    const done = (isDeleted: boolean) => acknowledged.deleted(entry.idKey, mayComeAgain || !isDeleted);
    const settle = (error: RequestError | null): void => {
      core.depths.settled(address, entry.epoch, counted);
      if (error === null) return done(true);
      // Storage swallowed it: until it is back, the message is only remembered.
      void this.#removeAgain(entry, isExpired).then(done);
    };
    if (isExpired) mailboxes.expire(address, entry, entry.ciphertext.length, settle);
    else mailboxes.remove(address, entry, settle);
  }

  async #removeAgain(entry: MailboxEntry, isExpired: boolean): Promise<boolean> {
    for (let attempt = 1; attempt <= REMOVE_ATTEMPTS; attempt++) {
      await sleep(this.core.clock, RETRY_MS * (0.5 + Math.random()));
      try {
        await this.core.store.mailboxes.removeAgain(this.address, entry, isExpired);
        return true;
      } catch {
        continue; // already in the log
      }
    }
    return false;
  }

  /** Claims the address in storage and listens there, for as long as the place is kept. */
  async #listen(): Promise<void> {
    const { store, clock } = this.core;
    const { signal } = this.#left;
    while (!signal.aborted) {
      try {
        const version = await store.sessions.claim(this.address, this.#connectionId);
        if (signal.aborted) return;
        this.#renewLater();
        await store.sessions.watch(this.address, this.#connectionId, version, signal, this.listener);
      } catch (error) {
        log.warn("an address can't be claimed yet: {reason}", { reason: String(error) });
        await sleep(clock, RETRY_MS * (0.5 + Math.random()));
      }
    }
  }

  /** Now and then rewrites the session record before it expires, and writes down that the device is still there. */
  #renewLater(): void {
    const { store, clock } = this.core;
    const renewal = clock.setTimer(TIMES.sessionRenewMs, () => {
      void this.readOwnDevice().catch(() => {});
      void store.sessions.claim(this.address, this.#connectionId).catch(() => {});
      this.#renewLater();
    });
    this.#left.signal.addEventListener("abort", () => renewal.cancel(), { once: true });
  }
}

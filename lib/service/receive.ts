/**
 * Receiving: what a connection does to get the messages of its address, and to be rid of them (protocol §5).
 * @module
 */
import type { Address } from "../address.ts";
import { sleep } from "../clock.ts";
import { DELIVERY, TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import { type LostReport, type MailboxEntry, type Page, unavailable } from "../store/mod.ts";
import type { Acknowledged } from "./acknowledged.ts";
import type { Core } from "./core.ts";
import type { Listener, Presence } from "./doorbell.ts";
import { type OwnDevice, readOwnDevice } from "./own_device.ts";
import { Removal } from "./removal.ts";

const log = logger("service");

/** The wait before something that storage refused is tried again. */
const RETRY_MS = 1_000;

/** One connection's place at its address. */
export class Receiver {
  readonly #presence: Presence;
  readonly #removal: Removal;
  /** Tells this connection from others in the session record; `null` where there is none. */
  readonly #connectionId: Uint8Array | null;
  #hasLeft = false;
  #left: AbortController | null = null;
  #renewAt: number;

  /** Takes the address: from here on the listener hears, and the connection before it is replaced. */
  constructor(
    private readonly core: Core,
    readonly address: Address,
    private readonly listener: Listener,
  ) {
    this.#presence = core.doorbell.enter(address, listener);
    this.#removal = new Removal(core, address, this.#presence.acknowledged);
    this.#renewAt = core.clock.monotonic() + TIMES.sessionRenewMs;
    // Where nobody else can be, there is no session record.
    this.#connectionId = core.store.sessions.isShared ? crypto.getRandomValues(new Uint8Array(16)) : null;
    if (this.#connectionId !== null) void this.#listen(this.#connectionId);
  }

  /** Whether the place was given up. */
  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  /** Now and then writes down that the device and its connection are still there. Call it about once a second. */
  renewIfDue(now: number): void {
    if (this.#hasLeft || now < this.#renewAt) return;
    this.#renewAt = now + TIMES.sessionRenewMs;
    void this.readOwnDevice().catch(() => {});
    if (this.#connectionId === null) return;
    void this.core.store.sessions.claim(this.address, this.#connectionId).catch(() => {});
  }

  /**
   * See `readOwnDevice`.
   *
   * @throws {RequestError} `unavailable`.
   */
  readOwnDevice(): Promise<OwnDevice | null> {
    return this.#inTurn(() => readOwnDevice(this.core, this.address));
  }

  /** The same, tried again until storage answers or the place is given up. */
  async awaitOwnDevice(): Promise<OwnDevice | null> {
    while (!this.hasLeft) {
      try {
        return await this.readOwnDevice();
      } catch (error) {
        if (this.hasLeft) break;
        log.warn("a mailbox can't be opened yet: {reason}", { reason: String(error) });
        await sleep(this.core.clock, RETRY_MS * (0.5 + Math.random()));
      }
    }
    return null;
  }

  /**
   * As `readOwnDevice`, once all that this process was to change of it before is carried out, or never will be.
   *
   * @throws {RequestError} `unavailable`.
   */
  async readSettledDevice(): Promise<OwnDevice | null> {
    await this.core.store.writer.flushed(this.address.userId);
    return await this.readOwnDevice();
  }

  /**
   * Reads from the head of the mailbox, or from further on, what may be delivered: not under way, nor acknowledged, nor
   * expired.
   *
   * @param limit how many rows are looked at.
   * @param wants told each entry in order; says whether it wants more.
   * @param looksForAside whether to find out if something was moved behind the mailbox.
   * @param from the message to begin with; `null` is the head.
   * @throws {RequestError} `unavailable`.
   */
  read(
    epoch: string,
    limit: number,
    isUnderWay: (entry: MailboxEntry) => boolean,
    wants: (entry: MailboxEntry) => boolean,
    looksForAside = false,
    from: Uint8Array | null = null,
  ): Promise<Page> {
    return this.#readMailbox((acknowledged) => {
      const now = this.core.clock.now();
      // At the head there may be as many again that are being deleted.
      const rows = from === null ? limit + Math.min(acknowledged.size, limit) : limit;
      return this.core.store.mailboxes.page(
        this.address,
        epoch,
        rows,
        (entry) => {
          if (isUnderWay(entry) || acknowledged.has(entry.idKey)) return true;
          if (entry.expiresAt > now) return wants(entry);
          this.#removal.expired(entry);
          return true;
        },
        looksForAside,
        from,
      );
    });
  }

  /**
   * Reads some of what was moved behind the mailbox, and may be delivered.
   *
   * @throws {RequestError} `unavailable`.
   */
  readAside(epoch: string): Promise<MailboxEntry[]> {
    return this.#readMailbox(async (acknowledged) => {
      const entries = await this.core.store.setAside.read(this.address, epoch, DELIVERY.asideMessagesMax);
      const now = this.core.clock.now();
      return entries.filter((entry) => {
        if (acknowledged.has(entry.idKey)) return false;
        if (entry.expiresAt > now) return true;
        this.#removal.expired(entry);
        return false;
      });
    });
  }

  /**
   * The connection is over, and its client did not deal with the oldest message, though with others: after some of
   * these the message is moved behind the mailbox. A count that storage does not take is none.
   */
  async notDealtWith(entry: MailboxEntry): Promise<void> {
    if (this.wasAcknowledged(entry)) return;
    const { store, metrics, clock } = this.core;
    const outcome = await store.setAside.count(this.address, entry).catch(() => "gone" as const);
    if (outcome !== "moved") return;
    metrics.counts.messagesSetAside++;
    log.warn(
      "a message of {bytes} bytes, {age} s old, was set aside: device {device} never dealt with it. See " +
        "`main.ts aside`",
      {
        bytes: entry.ciphertext.length,
        age: Math.round((clock.now() - entry.timestamp) / 1_000),
        device: this.address.deviceId,
      },
    );
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
    this.#removal.acknowledged(entry, wasRead && Math.abs(age) < TIMES.acknowledgedMs);
  }

  /**
   * Gives the place up.
   *
   * @param hasUnacknowledged whether messages were handed over that the client did not acknowledge.
   */
  leave(hasUnacknowledged: boolean): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#left?.abort();
    this.core.doorbell.leave(this.address, this.listener, hasUnacknowledged);
  }

  /** How many messages the mailbox lost since somebody was told, and what to clear when that is done. */
  async readLost(epoch: string): Promise<{ lost: number; report: LostReport }> {
    // What was lost, or told, a moment ago may still be on its way to storage.
    await this.core.store.writer.flushed(this.address.userId);
    return await this.#inTurn(() => this.core.store.waiting.read(this.address, epoch));
  }

  /** The owner knows of what was lost. */
  clearLost(epoch: string, report: LostReport): void {
    this.core.store.waiting.clear(this.address, epoch, report);
  }

  /** Reads in its turn what may be delivered: deletions may not show in it until it is over. */
  #readMailbox<T>(read: (acknowledged: Acknowledged) => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      const { acknowledged } = this.#presence;
      acknowledged.readBegins();
      try {
        return await read(acknowledged);
      } finally {
        acknowledged.readEnds();
      }
    });
  }

  /** Reads when it is this connection's turn, if it is still there by then. */
  #inTurn<T>(read: () => Promise<T>): Promise<T> {
    return this.core.ownReads.run(() => this.#hasLeft ? Promise.reject(unavailable()) : read());
  }

  /** Claims the address in storage and listens there, for as long as the place is kept. */
  async #listen(connectionId: Uint8Array): Promise<void> {
    const { store: { sessions }, clock } = this.core;
    const { signal } = this.#left = new AbortController();
    while (!signal.aborted) {
      try {
        const version = await sessions.claim(this.address, connectionId, signal);
        if (signal.aborted) return;
        // What another process stored before this was handed to the connection before this one, or rang its bell.
        this.listener.woken();
        await sessions.watch(this.address, connectionId, version, signal, this.listener);
      } catch (error) {
        log.warn("an address can't be claimed yet: {reason}", { reason: String(error) });
        await sleep(clock, RETRY_MS * (0.5 + Math.random()));
      }
    }
  }
}

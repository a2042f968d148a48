/**
 * How full each mailbox is, so that a full one refuses (protocol §6).
 *
 * The counts in storage are exact; here they are read once, and carried along with what this process adds and removes.
 * Where other processes fill the same mailbox, a count is good for a quarter of the room that it left, and for a tenth
 * of a second, or two where there is room for thousands. Expired messages of a stretch that is not over are still counted: so a mailbox that looks full is looked
 * through before it refuses, again only when the next of its messages has expired, and at most once a second.
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import { dropOldest } from "../bounded.ts";
import { type Clock, sleep } from "../clock.ts";
import type { Config } from "../config.ts";
import { QUEUES } from "../limits.ts";
import { lookThrough, type Store, type Waiting } from "../store/mod.ts";

/** How long a count is good where other processes may change it, and for which part of the room. */
const LEASE_MS = { roomy: 2_000, tight: 100 } as const;
const LEASE_SHARE = 4;

/** With so much to give away a mailbox is far from full, and is not counted ten times a second. */
const ROOMY = { messages: 1_000, bytes: 4 * 1_024 * 1_024 } as const;

/** How long a mailbox is not looked through again: at least and at most, and for each part of the time that it took. */
const LOOK = { pauseMs: 1_000, pauseMostMs: 60_000, pausePerTime: 20 } as const;

/** How often it is looked whether storage has what is under way, and how long at most. */
const QUIET_MS = { look: 1, most: 100 } as const;

/** Transient messages live for seconds, and are not counted in storage: each mailbox takes so many a minute. */
const TRANSIENT = { messagesMax: 1_000, perMs: 60_000 } as const;

/** What is known of one mailbox. */
interface Depth {
  messages: number;
  bytes: number;
  /** Messages that come or go, of which it is not known yet whether storage has it: they are not in its counts. */
  unsettled: number;
  /** While its count is good, by the wall clock: what expired before is not in it. */
  stretch: Waiting["stretch"];
  /** How much this process may add before it counts again, and until when. */
  leaseMessages: number;
  leaseBytes: number;
  leaseEndsAt: number;
  /** From when on looking through it may find room, and may be done again; by the wall clock. */
  nextExpiryAt: number;
  nextLookAt: number;
  looking: Promise<void> | null;
  transients: number;
  transientsSince: number;
}

/** A message as it is counted. */
export interface Counted {
  readonly bytes: number;
  readonly transient: boolean;
}

/** A message that asks for room. */
export interface Asking extends Counted {
  /** Milliseconds since the epoch: from then on looking the mailbox through finds its room again. */
  readonly expiresAt: number;
}

/** The depth of the mailboxes that are in use. */
export class Depths {
  readonly #depths = new Map<string, Depth>();
  readonly #reading = new Map<string, Promise<Depth>>();
  #looks: Promise<void> = Promise.resolve();

  constructor(
    private readonly config: Pick<Config, "mailboxMessagesMax" | "mailboxBytesMax">,
    private readonly store: Pick<Store, "mailboxes" | "waiting" | "database">,
    private readonly clock: Clock,
  ) {}

  /**
   * Counts a message in if the mailbox takes it. It must be settled: `settled` once it is stored, or `release`.
   *
   * @returns whether it does, or a promise of that where the mailbox must be counted first.
   */
  reserve(address: Address, epoch: string, message: Asking): boolean | Promise<boolean> {
    const key = keyOf(address, epoch);
    const depth = this.#depths.get(key);
    if (depth === undefined || this.#isStale(depth)) return this.#count(key, address, epoch, message);
    return this.#admit(depth, address, epoch, message);
  }

  /** A message that had its room is stored, or one that left is deleted. */
  settled(address: Address, epoch: string, message: Counted): void {
    const depth = message.transient ? undefined : this.#depths.get(keyOf(address, epoch));
    if (depth !== undefined) depth.unsettled = Math.max(0, depth.unsettled - 1);
  }

  /** A message that had its room was not stored. */
  release(address: Address, epoch: string, message: Counted): void {
    this.left(address, epoch, message);
    this.settled(address, epoch, message);
    this.settled(address, epoch, message);
  }

  /** A message left the mailbox. It must be `settled` once it is deleted. */
  left(address: Address, epoch: string, { bytes, transient }: Counted): void {
    const depth = transient ? undefined : this.#depths.get(keyOf(address, epoch));
    if (depth === undefined) return;
    depth.messages = Math.max(0, depth.messages - 1);
    depth.bytes = Math.max(0, depth.bytes - bytes);
    depth.unsettled++;
  }

  async #count(key: string, address: Address, epoch: string, message: Asking): Promise<boolean> {
    await this.#quiet(this.#depths.get(key));
    const depth = this.#depths.get(key);
    if (depth !== undefined && !this.#isStale(depth)) {
      return await this.#admit(depth, address, epoch, message);
    }
    return await this.#admit(await this.#read(key, address, epoch), address, epoch, message);
  }

  /** Waits until storage has what this process has under way in a mailbox; not for ever, for one that is never quiet. */
  async #quiet(depth: Depth | undefined): Promise<void> {
    const endsAt = this.clock.monotonic() + QUIET_MS.most;
    while (depth !== undefined && depth.unsettled > 0 && this.clock.monotonic() < endsAt) {
      await sleep(this.clock, QUIET_MS.look);
    }
  }

  #admit(depth: Depth, address: Address, epoch: string, message: Asking): boolean | Promise<boolean> {
    if (this.#fits(depth, message)) return this.#add(depth, message);
    if (depth.looking === null) {
      const now = this.clock.now();
      // A clock that stepped back must not put it off.
      const isSoon = now < depth.nextLookAt && depth.nextLookAt - now <= LOOK.pauseMostMs;
      if (now < depth.nextExpiryAt || isSoon) return false;
      depth.looking = this.#lookInTurn(depth, address, epoch).finally(() => depth.looking = null);
    }
    return depth.looking.then(() => this.#fits(depth, message) && this.#add(depth, message));
  }

  /** One mailbox at a time, and each the more seldom the longer it takes: nobody can keep storage busy with it. */
  #lookInTurn(depth: Depth, address: Address, epoch: string): Promise<void> {
    const look = async () => {
      const startedAt = this.clock.monotonic();
      await this.#look(depth, address, epoch);
      const tookMs = this.clock.monotonic() - startedAt;
      const pauseMs = Math.min(LOOK.pauseMostMs, Math.max(LOOK.pauseMs, tookMs * LOOK.pausePerTime));
      depth.nextLookAt = this.clock.now() + pauseMs;
    };
    const turn = this.#looks.then(look);
    this.#looks = turn.catch(() => {});
    return turn;
  }

  #fits(depth: Depth, { bytes }: Counted): boolean {
    return depth.messages < this.config.mailboxMessagesMax &&
      depth.bytes + bytes <= this.config.mailboxBytesMax;
  }

  #add(depth: Depth, { bytes, transient, expiresAt }: Asking): boolean {
    if (transient) {
      const now = this.clock.monotonic();
      if (now - depth.transientsSince > TRANSIENT.perMs) {
        depth.transients = 0;
        depth.transientsSince = now;
      }
      return ++depth.transients <= TRANSIENT.messagesMax;
    }
    depth.messages++;
    depth.bytes += bytes;
    depth.unsettled++;
    depth.leaseMessages--;
    depth.leaseBytes -= bytes;
    depth.nextExpiryAt = Math.min(depth.nextExpiryAt, expiresAt);
    return true;
  }

  #isStale(depth: Depth): boolean {
    const now = this.clock.now();
    if (now < depth.stretch.from || now >= depth.stretch.until) return true;
    if (!this.store.database.isShared) return false;
    return depth.leaseMessages <= 0 || depth.leaseBytes <= 0 || this.clock.monotonic() >= depth.leaseEndsAt;
  }

  /** Reads the counts; those who ask meanwhile wait for the same read. */
  #read(key: string, address: Address, epoch: string): Promise<Depth> {
    let reading = this.#reading.get(key);
    if (reading === undefined) {
      reading = this.store.waiting.read(address, epoch)
        .then((counts) => this.#remember(key, counts))
        .finally(() => this.#reading.delete(key));
      this.#reading.set(key, reading);
    }
    return reading;
  }

  /** Looks through a mailbox: what has expired goes, and counts that are wrong are put right. */
  async #look(depth: Depth, address: Address, epoch: string): Promise<void> {
    const { mailboxes, waiting } = this.store;
    await this.#quiet(depth);
    depth.nextExpiryAt = Number.POSITIVE_INFINITY; // what is added meanwhile lowers it too
    const seen = await lookThrough(this.store, address, epoch, this.clock.now(), (expiresAt) => {
      depth.nextExpiryAt = Math.min(depth.nextExpiryAt, expiresAt);
    });
    // Only if nothing came or went meanwhile, what was found is what should have been counted.
    if (depth.unsettled === 0 && seen.isSteady) {
      const error = waiting.correct(address, epoch, seen.counted, seen.found);
      depth.messages += error.messages;
      depth.bytes += error.bytes;
    }
    for (const { entry, bytes } of seen.expired) {
      const counted = { bytes, transient: entry.expiresAt < depth.stretch.from };
      this.left(address, epoch, counted);
      mailboxes.expire(address, entry, bytes, () => this.settled(address, epoch, counted));
    }
  }

  #remember(key: string, { open: { messages, bytes }, stretch }: Waiting): Depth {
    const now = this.clock.monotonic();
    const share = (room: number) => Math.max(1, Math.floor(room / LEASE_SHARE));
    const leaseMessages = share(this.config.mailboxMessagesMax - messages);
    const leaseBytes = share(this.config.mailboxBytesMax - bytes);
    const isRoomy = leaseMessages >= ROOMY.messages && leaseBytes >= ROOMY.bytes;
    const depth: Depth = {
      unsettled: 0,
      nextExpiryAt: 0,
      nextLookAt: 0,
      looking: null,
      transients: 0,
      transientsSince: now,
      ...this.#depths.get(key),
      stretch,
      messages,
      bytes,
      leaseMessages,
      leaseBytes,
      leaseEndsAt: now + (isRoomy ? LEASE_MS.roomy : LEASE_MS.tight),
    };
    this.#depths.delete(key);
    this.#depths.set(key, depth);
    dropOldest(this.#depths, QUEUES.depthsMax);
    return depth;
  }
}

function keyOf(address: Address, epoch: string): string {
  return `${addressKey(address)}/${epoch}`;
}

/**
 * What a client never deals with: counted, then moved behind its mailbox, where it holds nothing up.
 *
 * All of it is kept under the mailbox's own prefix: the row that counts comes before every message, and what was moved
 * comes after them. So whatever reads a mailbox meets both, and what looks through it, counts it or deletes it has them
 * in. A message that was moved keeps its count among what waits, and its expiry.
 *
 * Invariant: a message is at one of its two places. It is moved by one commit that checks its row. Only the message that
 * the row at the head names is ever moved; so whoever deletes that one deletes it at both places, or looks where it is.
 * @module
 */
import type { Address } from "../address.ts";
import { DELIVERY, TIMES } from "../limits.ts";
import { encodeAttempts, readAttempts } from "./attempts.ts";
import { type Database, type Entry, unavailable } from "./database.ts";
import { Devices } from "./devices.ts";
import { asideKey, asidePrefix, attemptsKey, inboxKey } from "./keys.ts";
import { decodeEntry, type MailboxEntry, tallyOf } from "./mailbox_entry.ts";
import { bucketEnd, lostTally, packTally } from "./tally.ts";
import { mutate, type Writer } from "./writer.ts";

/** A message that expires sooner than this is neither counted nor moved: it might be deleted meanwhile as expired. */
const EXPIRES_SOON_MS = 60_000;

/** How often a deletion looks again where its message is: it can be moved once. */
const LOOKS_MAX = 3;

/** How many rows are fetched at a time where all that was moved is looked at. */
const DEVICES_PAGE = 500;
const ASIDE_BATCH = 16;

/** What became of a message that its client did not deal with; `gone` if it is not in its mailbox any more. */
export type SetAsideOutcome = "counted" | "moved" | "gone";

/** Counts, moves and deletes what clients don't deal with. */
export class SetAside {
  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /**
   * Counts that a connection ended on which the client did not deal with its oldest message, though with others. The
   * last count moves the message.
   *
   * @throws {RequestError} `unavailable`: it may have been counted, and must not be tried again.
   */
  async count(address: Address, entry: MailboxEntry): Promise<SetAsideOutcome> {
    const { epoch, id, expiresAt, transient, isAside } = entry;
    const now = this.database.clock.now();
    if (isAside || transient || expiresAt - now < EXPIRES_SOON_MS) return "gone";
    const counter = attemptsKey(address, epoch);
    const [row, before] = await this.database.getMany([inboxKey(address, epoch, id), counter]);
    if (!row || !(row.value instanceof Uint8Array)) return "gone";
    const { value } = row;
    const attempts = attemptsOf(before, id) + 1;
    const isLast = attempts >= DELIVERY.attemptsMax;
    const expireInMs = bucketEnd(expiresAt) - now + TIMES.expirySlackMs;
    const result = await this.writer.commit(address.userId, (atomic) => {
      atomic.check(row).check(before ?? { key: counter, versionstamp: null });
      if (isLast) {
        atomic.delete(row.key).delete(counter);
        mutate(atomic, { key: asideKey(address, epoch, id), change: value, expireInMs });
      } else mutate(atomic, { key: counter, change: encodeAttempts({ id, attempts }), expireInMs });
      return atomic;
    }, value.length);
    if (!result.ok) return "gone";
    return isLast ? "moved" : "counted";
  }

  /**
   * Deletes a message whose deletion failed, and which may have been moved, or deleted: wherever it is, and counted once.
   *
   * @param isExpired whether it expired undelivered, and counts as lost.
   * @throws {RequestError} `unavailable`.
   */
  async remove(address: Address, entry: MailboxEntry, isExpired: boolean): Promise<void> {
    const { epoch, id } = entry;
    const keys = [inboxKey(address, epoch, id), asideKey(address, epoch, id), attemptsKey(address, epoch)];
    const tally = tallyOf(address, entry, -1);
    for (let looks = 0; looks < LOOKS_MAX; looks++) {
      const [there, behind, counter] = await this.database.getMany(keys);
      const row = there ?? behind;
      if (!row) return;
      // In a file nobody else moves or deletes: what is there is deleted with others, or a thousand repeats, after a disk
      // was full, would be a thousand commits.
      if (!this.database.isShared && row === there && !counter) {
        return await this.#removeWithOthers(address, entry, isExpired);
      }
      const result = await this.writer.commit(address.userId, (atomic) => {
        atomic.check(row).delete(row.key);
        if (counter && attemptsOf(counter, id) > 0) atomic.delete(counter.key);
        if (tally === null) return atomic;
        if (isExpired) atomic.sum(lostTally(address, epoch, 1).key, packTally(1, 0));
        return atomic.sum(tally.key, packTally(tally.messages, tally.bytes));
      });
      if (result.ok) return;
    }
    throw unavailable();
  }

  #removeWithOthers(address: Address, entry: MailboxEntry, isExpired: boolean): Promise<void> {
    const tally = tallyOf(address, entry, -1);
    const lost = isExpired ? [lostTally(address, entry.epoch, 1)] : [];
    return new Promise((resolve, reject) => {
      this.writer.write(address.userId, {
        mutations: [{ key: inboxKey(address, entry.epoch, entry.id), change: null }],
        tallies: tally === null ? [] : [tally, ...lost],
        isPatient: true,
        settle: (error) => error === null ? resolve() : reject(error),
      });
    });
  }

  /**
   * Reads some of what was moved behind a mailbox. Where it begins is left to chance, and goes round: so each has its
   * turn, however many there are. The ids are in the keys backwards, since their last bytes are random.
   */
  async read(address: Address, epoch: string, limit: number): Promise<MailboxEntry[]> {
    const prefix = asidePrefix(address, epoch);
    const middle = [...prefix, crypto.getRandomValues(new Uint8Array(4))];
    const rows = await this.database.list({ prefix, start: middle }, { limit });
    if (rows.length < limit) {
      rows.push(...await this.database.list({ prefix, end: middle }, { limit: limit - rows.length }));
    }
    return rows.flatMap((row) => decodeEntry(row) ?? []);
  }
}

/**
 * Looks at everything that was moved behind a mailbox, expired or not: at one device after the other.
 *
 * @throws {RequestError} `unavailable`.
 */
export async function scanAside(
  database: Database,
  look: (address: Address, entry: MailboxEntry) => void,
): Promise<void> {
  const devices = new Devices(database);
  for (let after: Address | null = null;;) {
    const page = await devices.page(after, DEVICES_PAGE);
    for (const { address, device: { record } } of page) {
      await database.scan(
        { prefix: asidePrefix(address, record.epoch) },
        { batchSize: ASIDE_BATCH },
        (row) => {
          const entry = decodeEntry(row);
          if (entry !== null) look(address, entry);
        },
      );
    }
    if (page.length < DEVICES_PAGE) return;
    after = page.at(-1)?.address ?? null;
  }
}

/** How often the row has counted this message. */
function attemptsOf(row: Entry | null | undefined, id: Uint8Array): number {
  const counted = row ? readAttempts(row) : null;
  return counted !== null && isSame(counted.id, id) ? counted.attempts : 0;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

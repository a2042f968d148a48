/**
 * Mailboxes: what waits for each installation of a device, in the order of its acceptance.
 * @module
 */
import type { Address } from "../address.ts";
import type { StoredMessage } from "../domain.ts";
import type { Database, Entry } from "./database.ts";
import { readAttempts } from "./attempts.ts";
import type { Addition } from "./growing.ts";
import { asideKey, asidePrefix, attemptsKey, inboxKey, inboxPrefix } from "./keys.ts";
import { decodeEntry, type MailboxEntry, prepareEntry, tallyOf, toIdKey } from "./mailbox_entry.ts";
import { bucketOf, lostTally, NO_TALLIES, waitingTally } from "./tally.ts";
import type { Mutation, Write, Writer } from "./writer.ts";

/** How many rows one read of the database fetches: enough for a window, few enough of the largest messages. */
const PAGE_BATCH = 64;

/** How far a read of a mailbox came. */
export interface Page {
  /** Whether nothing more waited when it began, apart from what was moved behind the mailbox. */
  readonly isAtEnd: boolean;
  /** Whether something was moved behind it, if the read came that far and was to look. */
  readonly hasAside: boolean;
  /** The last message that was looked at. */
  readonly lastId: Uint8Array | null;
}

/** The message that a row names which is no message itself. */
function countedIn(row: Entry): string | null {
  const attempts = readAttempts(row);
  return attempts === null ? null : toIdKey(attempts.id);
}

/** Reads, fills and empties mailboxes. */
export class Mailboxes {
  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /**
   * Queues a message for an installation.
   *
   * @param companions written in the same commit: what remembers the send, and what rings the recipient's bell.
   * @param settle called once, with `null` when the message is durable.
   * @param landed called if it became durable after all, or may have, when that was not known in time.
   * @returns the entry; it must not be delivered before.
   */
  append(
    to: Address,
    epoch: string,
    message: StoredMessage,
    { addition, ring }: { readonly addition: Addition | null; readonly ring: Mutation | null },
    settle: Write["settle"],
    landed: () => void = () => {},
  ): MailboxEntry {
    const [entry, mutation] = prepareEntry(to, epoch, message);
    const tally = tallyOf(to, entry, 1);
    this.writer.write(to.userId, {
      mutations: ring === null ? [mutation] : [mutation, ring],
      tallies: tally === null ? NO_TALLIES : [tally],
      addition,
      settle,
      landed,
    });
    return entry;
  }

  /**
   * Queues the deletion of a message, which then no longer counts as waiting. One that may be moved at this moment is
   * deleted at both of its places: at once, since what comes after an Ack must not be durable before it.
   */
  remove(address: Address, entry: MailboxEntry, settle: Write["settle"]): void {
    const tally = tallyOf(address, entry, -1);
    const mutations = placesOf(address, entry).map((key) => ({ key, change: null }));
    const tallies = tally === null ? NO_TALLIES : [tally];
    this.writer.write(address.userId, { mutations, tallies, isPatient: true, settle });
  }

  /**
   * Queues the deletion of a message that expired undelivered, and counts it as lost: in one commit.
   *
   * @param bytes of its ciphertext, which need not be there any more.
   */
  expire(address: Address, entry: MailboxEntry, bytes: number, settle: Write["settle"] = () => {}): void {
    const { epoch, expiresAt, transient } = entry;
    const mutations = [{ key: keyOf(address, entry), change: null }];
    const tallies = transient
      ? []
      : [waitingTally(address, epoch, bucketOf(expiresAt), -1, -bytes), lostTally(address, epoch, 1)];
    this.writer.write(address.userId, { mutations, tallies, isPatient: true, settle });
  }

  /** Queues the deletion of a message that does not count as waiting any more, or may have been deleted. */
  discard(address: Address, epoch: string, id: Uint8Array, settle: Write["settle"]): void {
    this.writer.write(address.userId, {
      mutations: [{ key: inboxKey(address, epoch, id), change: null }],
      isPatient: true,
      settle,
    });
  }

  /**
   * Reads from the head of a mailbox, or from further on.
   *
   * @param limit how many rows are looked at.
   * @param wants told each entry in order; says whether it wants more. What was moved behind is not told.
   * @param looksForAside whether to find out if something was moved behind, which may fetch a batch of that.
   * @param from the message to begin with; `null` is the head.
   */
  async page(
    address: Address,
    epoch: string,
    limit: number,
    wants: (entry: MailboxEntry) => boolean,
    looksForAside = false,
    from: Uint8Array | null = null,
  ): Promise<Page> {
    const prefix = inboxPrefix(address, epoch);
    const start = from === null ? null : inboxKey(address, epoch, from);
    const selector = selectorOf(prefix, start, looksForAside ? null : asidePrefix(address, epoch));
    const looked: { last: Uint8Array | null } = { last: null };
    let isSatisfied = false;
    let hasAside = false;
    let counted: string | null = null;
    const options = { limit, batchSize: PAGE_BATCH };
    const rows = await this.database.list(selector, options, (row) => {
      const entry = decodeEntry(row);
      // The row that counts comes first.
      if (entry === null) counted ??= countedIn(row);
      else if (entry.isAside) hasAside = true;
      else {
        isSatisfied = !wants(entry.idKey === counted ? { ...entry, isCounted: true } : entry);
        looked.last = entry.id;
      }
      return !isSatisfied && !hasAside;
    });
    return { isAtEnd: hasAside || (!isSatisfied && rows.length < limit), hasAside, lastId: looked.last };
  }

  /** Looks at everything in a mailbox and behind it, expired or not, without keeping it. */
  async scan(address: Address, epoch: string, look: (entry: MailboxEntry) => void): Promise<void> {
    await this.database.scan({ prefix: inboxPrefix(address, epoch) }, { batchSize: PAGE_BATCH }, (row) => {
      const entry = decodeEntry(row);
      if (entry !== null) look(entry);
    });
  }
}

/** What lies under a prefix, from a key on, up to another one. */
function selectorOf(
  prefix: Deno.KvKey,
  start: Deno.KvKey | null,
  end: Deno.KvKey | null,
): Deno.KvListSelector {
  if (start === null) return end === null ? { prefix } : { prefix, end };
  return end === null ? { prefix, start } : { start, end };
}

/** Where a message may be, and what counts it. */
function placesOf(address: Address, entry: MailboxEntry): Deno.KvKey[] {
  const { epoch, id, isCounted } = entry;
  const key = keyOf(address, entry);
  return isCounted ? [key, asideKey(address, epoch, id), attemptsKey(address, epoch)] : [key];
}

function keyOf(address: Address, { epoch, id, isAside }: MailboxEntry): Deno.KvKey {
  return isAside ? asideKey(address, epoch, id) : inboxKey(address, epoch, id);
}

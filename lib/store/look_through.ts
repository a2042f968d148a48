/**
 * Looking through a mailbox: what is in it, what of that has expired, and whether the counts agree.
 * @module
 */
import type { Address } from "../address.ts";
import type { Mailboxes } from "./mailbox.ts";
import type { MailboxEntry } from "./mailbox_entry.ts";
import { type Amount, bucketOf } from "./tally.ts";
import type { WaitingCounts } from "./waiting.ts";

/** What was found. */
export interface Seen {
  /** What is there, expired or not, by the stretch of its expiry. */
  readonly found: ReadonlyMap<number, Amount>;
  /** What the counts said after it. */
  readonly counted: ReadonlyMap<number, Amount>;
  /** Whether they had said the same before: nothing came or went. */
  readonly isSteady: boolean;
  /** What has expired: without its contents, and how many bytes these have. */
  readonly expired: readonly { readonly entry: MailboxEntry; readonly bytes: number }[];
}

/**
 * Looks through a mailbox. Transient messages are passed over: they are not counted.
 *
 * @param now milliseconds since the epoch: what expires no later has expired.
 * @param alive told when each message expires that has not.
 */
export async function lookThrough(
  { mailboxes, waiting }: { readonly mailboxes: Mailboxes; readonly waiting: WaitingCounts },
  address: Address,
  epoch: string,
  now: number,
  alive: (expiresAt: number) => void,
): Promise<Seen> {
  const before = await waiting.read(address, epoch);
  const found = new Map<number, { messages: number; bytes: number }>();
  const expired: { entry: MailboxEntry; bytes: number }[] = [];
  await mailboxes.scan(address, epoch, (entry) => {
    if (entry.transient) return;
    const bytes = entry.ciphertext.length;
    const amount = found.get(bucketOf(entry.expiresAt)) ?? { messages: 0, bytes: 0 };
    amount.messages++;
    amount.bytes += bytes;
    found.set(bucketOf(entry.expiresAt), amount);
    if (entry.expiresAt <= now) expired.push({ entry: withoutContent(entry), bytes });
    else alive(entry.expiresAt);
  });
  const counted = (await waiting.read(address, epoch)).byBucket;
  return { found, counted, isSteady: isSame(before.byBucket, counted), expired };
}

/** The entry without the bytes that would keep the whole row in memory. */
function withoutContent(entry: MailboxEntry): MailboxEntry {
  return { ...entry, ciphertext: new Uint8Array(), messageId: new Uint8Array() };
}

function isSame(a: ReadonlyMap<number, Amount>, b: ReadonlyMap<number, Amount>): boolean {
  return a.size === b.size && [...a].every(([bucket, { messages, bytes }]) => {
    const other = b.get(bucket);
    return other?.messages === messages && other.bytes === bytes;
  });
}

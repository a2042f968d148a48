/**
 * How much waits in each mailbox, and how much of it was lost before it was delivered. The counts are those of
 * `tally.ts`; they cost the same however full a mailbox is.
 * @module
 */
import type { Address } from "../address.ts";
import type { Database } from "./database.ts";
import { lostKey, waitingKey, waitingPrefix } from "./keys.ts";
import {
  type Amount,
  bucketOf,
  bucketStart,
  lostTally,
  type Tally,
  unpackTally,
  waitingTally,
} from "./tally.ts";
import type { Writer } from "./writer.ts";

/** Stretches of time in which messages of one mailbox can expire: more than the longest retention has. */
const BUCKETS_MAX = 2_000;

/** Nobody waits for it. */
const settle = () => {};

/** What the counts of a mailbox say. */
export interface Waiting {
  /** What may still be delivered: expired messages of the stretch that is not over are in it. */
  readonly open: Amount;
  /** The same by stretch. */
  readonly byBucket: ReadonlyMap<number, Amount>;
  /** While it is good, milliseconds since the epoch: what expired before `from` is not in it. */
  readonly stretch: { readonly from: number; readonly until: number };
  /** Messages that were lost, and of which nobody was told. */
  readonly lost: number;
  /** What to clear once somebody was told. */
  readonly report: LostReport;
}

/** What a number of lost messages was made of. */
export interface LostReport {
  /** Those that were counted as lost. */
  readonly counted: number;
  /** The stretches that are over, and in which others still counted as waiting. */
  readonly closed: readonly number[];
}

/** Reads and keeps the counts. */
export class WaitingCounts {
  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /** Reads the counts of a mailbox. */
  async read(address: Address, epoch: string): Promise<Waiting> {
    const [rows, lostEntry] = await Promise.all([
      this.database.list({ prefix: waitingPrefix(address, epoch) }, { limit: BUCKETS_MAX }),
      this.database.get(lostKey(address, epoch)),
    ]);
    const now = bucketOf(this.database.clock.now());
    const byBucket = new Map<number, Amount>();
    const closed: number[] = [];
    const empty: number[] = [];
    let [messages, bytes, expired] = [0, 0, 0];
    for (const row of rows) {
      const bucket = Number(row.key.at(-1));
      const amount = unpackTally(row.value);
      if (bucket < now) {
        expired += amount.messages;
        (amount.messages > 0 ? closed : empty).push(bucket);
        continue;
      }
      byBucket.set(bucket, amount);
      messages += amount.messages;
      bytes += amount.bytes;
    }
    this.#delete(address, epoch, empty);
    const counted = unpackTally(lostEntry?.value).messages;
    return {
      open: { messages, bytes },
      byBucket,
      stretch: { from: bucketStart(now), until: bucketStart(now + 1) },
      lost: counted + expired,
      report: { counted, closed },
    };
  }

  /**
   * Corrects the counts of a mailbox by what was found in it.
   *
   * @returns by how much they were too low.
   */
  correct(
    address: Address,
    epoch: string,
    counted: ReadonlyMap<number, Amount>,
    found: ReadonlyMap<number, Amount>,
  ): Amount {
    const error = { messages: 0, bytes: 0 };
    for (const [bucket, was] of counted) {
      const is = found.get(bucket);
      const messages = (is?.messages ?? 0) - was.messages;
      const bytes = (is?.bytes ?? 0) - was.bytes;
      if (messages === 0 && bytes === 0) continue;
      error.messages += messages;
      error.bytes += bytes;
      this.#count(address, waitingTally(address, epoch, bucket, messages, bytes));
    }
    return error;
  }

  /** Remembers that messages were lost: they expired, or found the mailbox full. */
  addLost(address: Address, epoch: string, messages: number): void {
    this.#count(address, lostTally(address, epoch, messages));
  }

  /** Somebody was told. */
  clear(address: Address, epoch: string, report: LostReport): void {
    this.#delete(address, epoch, report.closed);
    if (report.counted > 0) this.addLost(address, epoch, -report.counted);
  }

  #delete(address: Address, epoch: string, buckets: readonly number[]): void {
    for (const bucket of buckets) {
      const key = waitingKey(address, epoch, bucket);
      this.writer.write(address.userId, { mutations: [{ key, change: null }], isPatient: true, settle });
    }
  }

  #count(address: Address, tally: Tally): void {
    this.writer.write(address.userId, { mutations: [], tallies: [tally], isPatient: true, settle });
  }
}

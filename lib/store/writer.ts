/**
 * Group commit: while one commit is in flight, writes collect; then all that came go into the next one.
 *
 * Writes go by lanes, chosen by the user they concern; a lane has one commit in flight and keeps the order of what it
 * was given. Whoever waits for a write is told once: it is durable, or its outcome is not known (`unavailable`).
 * Everything that is queued must be valid: a batch that the database refuses fails all who are in it.
 * @module
 */
import type { Clock } from "../clock.ts";
import { RequestError } from "../errors.ts";
import { logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { BatchSize, buildBatch, growRows, type Write } from "./batch.ts";
import { CommitRun } from "./commit_run.ts";
import { type Database, unavailable } from "./database.ts";
import { GrowingRows } from "./growing.ts";
import { laneKey } from "./keys.ts";
import { isPatient, isWrite, type Job, LaneQueue } from "./lane_queue.ts";
import { type CommitResult, LaneToken } from "./lane_token.ts";

export type { Mutation, Write } from "./batch.ts";
export { mutate } from "./batch.ts";
export type { CommitResult } from "./lane_token.ts";

const log = logger("store");

/** What one commit after another goes through. */
class Lane {
  readonly #queue = new LaneQueue();
  #run: CommitRun | null = null;
  #isScheduled = false;
  readonly #growing = new GrowingRows();

  /** @param token `null` where the database carries out each commit once. */
  constructor(private readonly writer: Writer, private readonly token: LaneToken | null) {}

  get isIdle(): boolean {
    return this.#run === null && this.#queue.isEmpty;
  }

  push(job: Job): void {
    if (!this.#queue.push(job, this.writer.clock.monotonic())) {
      this.writer.metrics.counts.writesFailed++;
      job.settle(new RequestError("unavailable", "storage is behind: nothing was stored, try again", 1_000));
      return;
    }
    // One turn of the microtask queue lets all envelopes of a frame join one commit.
    if (this.#run === null && !this.#isScheduled) {
      this.#isScheduled = true;
      queueMicrotask(() => {
        this.#isScheduled = false;
        this.#next();
      });
    }
  }

  /** Refuses what has waited too long: called now and then while the lane is busy. */
  refuseLate(olderThan: number): void {
    this.#run?.refuseIfOlder(olderThan);
    for (const job of this.#queue.takeLate(olderThan)) {
      this.writer.metrics.counts.writesFailed++;
      job.settle(unavailable());
    }
  }

  /** Takes as many writes as one commit holds, or one conditional. */
  #take(): Job[] {
    const batch: Job[] = [];
    const size = new BatchSize();
    for (let job = this.#queue.first; job !== undefined; job = this.#queue.first) {
      if (!isWrite(job)) {
        if (batch.length === 0) batch.push(job), this.#queue.shift();
        break;
      }
      if (!size.add(job) && batch.length > 0) break;
      batch.push(job);
      this.#queue.shift();
    }
    return batch;
  }

  #next(): void {
    if (this.#run !== null) return;
    const batch = this.#take();
    const [first] = batch;
    if (first === undefined) return;
    const { writer } = this;
    const writes = isWrite(first) ? batch.filter(isWrite) : [];
    const rows = growRows(this.#growing, writes);
    const build = isWrite(first)
      ? (atomic: Deno.AtomicOperation) => buildBatch(atomic, writes, rows)
      : first.build;
    // The database gets its next batch before those who wait for this one are told: it need not wait for them.
    const finished = (isCarriedOut: boolean) => {
      if (!isCarriedOut) { for (const row of rows) row.close(); }
      this.#run = null;
      this.#next();
    };
    const each = (tell: (job: Job) => void) => {
      for (const job of batch) {
        try {
          tell(job);
        } catch (fault) {
          log.error("incident: what waited for a write failed: {reason}", { reason: String(fault) });
        }
      }
    };
    const run = new CommitRun(
      writer.database,
      writer.metrics,
      this.token,
      batch.length,
      finished,
      (error, result) =>
        each((job) => {
          if (this.#run !== run || !isPatient(job)) job.settle(error, result);
        }),
      (result, isLate) =>
        each((job) => {
          if (!isPatient(job)) {
            // What may be stored must be looked for: or what is known to be stored after it would be delivered before it.
            if (result === null || result.ok) job.landed?.();
          } else if (isLate) job.settle(result === null ? unavailable() : null, result ?? undefined);
        }),
    );
    this.#run = run;
    void run.commit(build);
  }
}

/** Writes to the database in batches. */
export class Writer {
  readonly #lanes: Lane[];
  readonly clock: Clock;

  /** @param laneCount one for a file, where commits are serial anyhow; several over KV Connect. */
  constructor(readonly database: Database, readonly metrics: Metrics, laneCount = database.isShared ? 8 : 1) {
    this.clock = database.clock;
    const name = crypto.randomUUID();
    this.#lanes = Array.from({ length: laneCount }, (_, lane) => {
      return new Lane(this, database.isShared ? new LaneToken(database, laneKey(name, lane)) : null);
    });
  }

  /** Queues a write that concerns `userId`. */
  write(userId: string, write: Write): void {
    this.#lane(userId).push(write);
  }

  /**
   * Makes a commit of its own, in its place among the writes that concern `userId`.
   *
   * @param bytes that it keeps in memory while it waits, where these are many.
   * @param landed told if it was carried out after all, when `unavailable` had been thrown.
   * @returns the commit's result, `ok: false` if a check failed.
   * @throws {RequestError} `unavailable`: it may or may not have been carried out.
   */
  commit(
    userId: string,
    build: (atomic: Deno.AtomicOperation) => Deno.AtomicOperation,
    bytes = 0,
    landed: () => void = () => {},
  ): Promise<CommitResult> {
    return new Promise((resolve, reject) => {
      this.#lane(userId).push({
        build,
        bytes,
        landed,
        settle: (error, result) => error !== null || result === undefined ? reject(error) : resolve(result),
      });
    });
  }

  /**
   * Waits until everything that was queued before, and concerns `userId`, is durable.
   *
   * @throws {RequestError} `unavailable`.
   */
  flushed(userId: string): Promise<void> {
    if (this.#lane(userId).isIdle) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.write(userId, { mutations: [], settle: (error) => error === null ? resolve() : reject(error) });
    });
  }

  /** Whether nothing waits and nothing is in flight. */
  get isIdle(): boolean {
    return this.#lanes.every((lane) => lane.isIdle);
  }

  /** Tells those who have waited longer than the deadline that the outcome is not known. Call it once a second. */
  refuseLate(deadlineMs: number): void {
    const olderThan = this.clock.monotonic() - deadlineMs;
    for (const lane of this.#lanes) lane.refuseLate(olderThan);
  }

  #lane(userId: string): Lane {
    // The first characters of a UUID version 4 are random.
    const index = this.#lanes.length === 1 ? 0 : parseInt(userId.slice(0, 4), 16) % this.#lanes.length;
    const lane = this.#lanes[index] ?? this.#lanes[0];
    if (lane === undefined) throw new Error("a writer has at least one lane");
    return lane;
  }
}

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
import { QUEUES } from "../limits.ts";
import { logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { BatchSize, buildBatch, valueBytes, type Write } from "./batch.ts";
import { type CommitResult, CommitRun } from "./commit_run.ts";
import { type Database, unavailable } from "./database.ts";

export type { Mutation, Write } from "./batch.ts";
export { mutate } from "./batch.ts";
export type { CommitResult } from "./commit_run.ts";

const log = logger("store");

/** A commit of its own, with checks, that keeps its place in the lane. */
interface Conditional {
  readonly build: (atomic: Deno.AtomicOperation) => Deno.AtomicOperation;
  /** Bytes that it keeps in memory while it waits. */
  readonly bytes: number;
  settle(error: RequestError | null, result?: CommitResult): void;
  landed?(): void;
}

type Job = Write | Conditional;

const isWrite = (job: Job): job is Write => "mutations" in job;
const isPatient = (job: Job) => isWrite(job) && job.isPatient === true;

/** What one commit after another goes through. */
class Lane {
  #jobs: Job[] = [];
  #queuedAt: number[] = [];
  #head = 0;
  #bytes = 0;
  #run: CommitRun | null = null;
  #isScheduled = false;

  constructor(private readonly writer: Writer) {}

  get isIdle(): boolean {
    return this.#run === null && this.#head === this.#jobs.length;
  }

  push(job: Job): void {
    const bytes = isWrite(job) ? valueBytes(job) : job.bytes;
    if (this.#jobs.length - this.#head >= QUEUES.laneWritesMax || this.#bytes + bytes > QUEUES.laneBytesMax) {
      this.writer.metrics.counts.writesFailed++;
      job.settle(new RequestError("unavailable", "storage is behind: nothing was stored, try again", 1_000));
      return;
    }
    this.#jobs.push(job);
    this.#queuedAt.push(this.writer.clock.monotonic());
    this.#bytes += bytes;
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
    const late: Job[] = [];
    while (this.#head < this.#jobs.length && (this.#queuedAt[this.#head] ?? 0) < olderThan) {
      const job = this.#shift();
      if (job !== undefined) late.push(job);
    }
    this.#putBack(late.filter(isPatient), olderThan);
    for (const job of late) {
      if (isPatient(job)) continue;
      this.writer.metrics.counts.writesFailed++;
      job.settle(unavailable());
    }
  }

  /** Puts jobs back where they were taken from: at the head. */
  #putBack(jobs: readonly Job[], queuedAt: number): void {
    if (jobs.length === 0) return;
    this.#jobs = [...jobs, ...this.#jobs.slice(this.#head)];
    this.#queuedAt = [...jobs.map(() => queuedAt), ...this.#queuedAt.slice(this.#head)];
    this.#head = 0;
    for (const job of jobs) this.#bytes += isWrite(job) ? valueBytes(job) : job.bytes;
  }

  #shift(): Job | undefined {
    const job = this.#jobs[this.#head++];
    if (job !== undefined) this.#bytes -= isWrite(job) ? valueBytes(job) : job.bytes;
    if (this.#head > 1024 && this.#head * 2 > this.#jobs.length) {
      this.#jobs = this.#jobs.slice(this.#head);
      this.#queuedAt = this.#queuedAt.slice(this.#head);
      this.#head = 0;
    }
    return job;
  }

  /** Takes as many writes as one commit holds, or one conditional. */
  #take(): Job[] {
    const batch: Job[] = [];
    const size = new BatchSize();
    while (this.#head < this.#jobs.length) {
      const job = this.#jobs[this.#head];
      if (job === undefined) break;
      if (!isWrite(job)) {
        if (batch.length === 0) batch.push(job), this.#shift();
        break;
      }
      if (!size.add(job) && batch.length > 0) break;
      batch.push(job);
      this.#shift();
    }
    return batch;
  }

  #next(): void {
    if (this.#run !== null) return;
    const batch = this.#take();
    const [first] = batch;
    if (first === undefined) return;
    const { writer } = this;
    const build = isWrite(first)
      ? (atomic: Deno.AtomicOperation) => buildBatch(atomic, batch.filter(isWrite))
      : first.build;
    // The database gets its next batch before those who wait for this one are told: it need not wait for them.
    const finished = () => {
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
      batch.length,
      finished,
      (error, result) =>
        each((job) => {
          if (this.#run !== run || !isPatient(job)) job.settle(error, result);
        }),
      (result) =>
        each((job) => {
          if (isPatient(job)) job.settle(result === null ? unavailable() : null, result ?? undefined);
          else if (result?.ok) job.landed?.();
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
    this.#lanes = Array.from({ length: laneCount }, () => new Lane(this));
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

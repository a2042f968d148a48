/**
 * What waits in one lane of the writer, in order, and since when.
 * @module
 */
import { QUEUES } from "../limits.ts";
import { valueBytes, type Write } from "./batch.ts";
import type { CommitResult } from "./lane_token.ts";
import type { RequestError } from "../errors.ts";

/** A commit of its own, with checks, that keeps its place in the lane. */
export interface Conditional {
  readonly build: (atomic: Deno.AtomicOperation) => Deno.AtomicOperation;
  /** Bytes that it keeps in memory while it waits. */
  readonly bytes: number;
  settle(error: RequestError | null, result?: CommitResult): void;
  landed?(): void;
}

/** Something that waits for a commit. */
export type Job = Write | Conditional;

export const isWrite = (job: Job): job is Write => "mutations" in job;

/** Whether nobody waits for it, so that it keeps its place however late it is. */
export const isPatient = (job: Job): boolean => isWrite(job) && job.isPatient === true;

const bytesOf = (job: Job) => isWrite(job) ? valueBytes(job) : job.bytes;

/** How many handed-out places are kept at the front before the rest moves up. */
const HANDED_OUT_MAX = 1_024;

/** A queue with bounds. */
export class LaneQueue {
  #jobs: Job[] = [];
  #queuedAt: number[] = [];
  #head = 0;
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#head === this.#jobs.length;
  }

  /** The job whose turn it is. */
  get first(): Job | undefined {
    return this.#jobs[this.#head];
  }

  /** Queues a job, or returns `false` if it is one too many, or has too many bytes. */
  push(job: Job, now: number): boolean {
    const bytes = bytesOf(job);
    if (this.#jobs.length - this.#head >= QUEUES.laneWritesMax || this.#bytes + bytes > QUEUES.laneBytesMax) {
      return false;
    }
    this.#jobs.push(job);
    this.#queuedAt.push(now);
    this.#bytes += bytes;
    return true;
  }

  /** Takes the job whose turn it is. */
  shift(): Job | undefined {
    const job = this.#jobs[this.#head++];
    if (job !== undefined) this.#bytes -= bytesOf(job);
    if (this.#head > HANDED_OUT_MAX && this.#head * 2 > this.#jobs.length) {
      this.#jobs = this.#jobs.slice(this.#head);
      this.#queuedAt = this.#queuedAt.slice(this.#head);
      this.#head = 0;
    }
    return job;
  }

  /** Takes out what has waited since before `olderThan`; what is patient stays where it is. */
  takeLate(olderThan: number): Job[] {
    const late: Job[] = [];
    while (!this.isEmpty && (this.#queuedAt[this.#head] ?? 0) < olderThan) {
      const job = this.shift();
      if (job !== undefined) late.push(job);
    }
    const patient = late.filter(isPatient);
    if (patient.length > 0) {
      this.#jobs = [...patient, ...this.#jobs.slice(this.#head)];
      this.#queuedAt = [...patient.map(() => olderThan), ...this.#queuedAt.slice(this.#head)];
      this.#head = 0;
      for (const job of patient) this.#bytes += bytesOf(job);
    }
    return late.filter((job) => !isPatient(job));
  }
}

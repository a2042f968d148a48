/**
 * One commit under way: repeated while the database is locked, and given up on, though not forgotten, when it is late.
 * @module
 */
import { sleep } from "../clock.ts";
import type { RequestError } from "../errors.ts";
import { logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { type Database, unavailable } from "./database.ts";

const log = logger("store");

/** How often a commit is tried while another process holds the file. */
const ATTEMPTS_MAX = 6;

/** The wait before the second attempt; each further one doubles it. */
const RETRY_MS = 10;

/** What a commit came to; of a batch of writes always `ok`. */
export type CommitResult = Deno.KvCommitResult | Deno.KvCommitError;

/** A commit from the moment it is handed to the database. */
export class CommitRun {
  readonly #startedAt: number;
  #isSettled = false;

  constructor(
    private readonly database: Database,
    private readonly metrics: Metrics,
    private readonly mutations: number,
    private readonly settled: (error: RequestError | null, result?: CommitResult) => void,
  ) {
    this.#startedAt = database.clock.monotonic();
  }

  /** Tells those who wait that the outcome is not known, if the commit began before `olderThan`. */
  refuseIfOlder(olderThan: number): void {
    if (this.#startedAt < olderThan) this.#settle(unavailable());
  }

  /** Carries it out. Resolves when the database is done with it, however long that takes; never rejects. */
  async commit(build: (atomic: Deno.AtomicOperation) => Deno.AtomicOperation): Promise<void> {
    for (let attempt = 1;; attempt++) {
      try {
        const result = await build(this.database.writer.atomic()).commit();
        const seconds = (this.database.clock.monotonic() - this.#startedAt) / 1_000;
        this.metrics.commitSeconds.observe(seconds);
        this.metrics.commitMutations.observe(this.mutations);
        return this.#settle(null, result);
      } catch (error) {
        if (!/database is locked/.test(String(error)) || attempt >= ATTEMPTS_MAX) {
          log.error("a commit of {mutations} failed: {reason}", {
            mutations: this.mutations,
            reason: String(error),
          });
          return this.#settle(unavailable());
        }
        this.metrics.counts.writesLocked++;
        await sleep(this.database.clock, RETRY_MS * 2 ** (attempt - 1) * (0.5 + Math.random()));
      }
    }
  }

  #settle(error: RequestError | null, result?: CommitResult): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (error !== null) this.metrics.counts.writesFailed += this.mutations;
    this.settled(error, result);
  }
}

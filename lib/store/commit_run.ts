/**
 * One commit under way: repeated while the database is locked, and given up on, though not forgotten, when it is late.
 * @module
 */
import { sleep } from "../clock.ts";
import type { RequestError } from "../errors.ts";
import { logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { type Database, unavailable } from "./database.ts";
import type { CommitResult, LaneToken } from "./lane_token.ts";

const log = logger("store");

/** How often a commit is tried while another process holds the file. */
const ATTEMPTS_MAX = 6;

/** The wait before the second attempt; each further one doubles it. */
const RETRY_MS = 10;

/** A commit from the moment it is handed to the database. */
export class CommitRun {
  readonly #startedAt: number;
  #isSettled = false;

  /**
   * @param token sees to it that it is carried out once, where it may be repeated; `null` where it is not.
   * @param finished told first when the database is done with it, so that the next one can begin; and whether it was
   * carried out.
   * @param settled told what became of it; or, while it goes on, that this is not known in time.
   * @param over told what became of it after all, if that was not known in time; or that the database failed over it
   * (`null`), so that it may have been carried out or not.
   */
  constructor(
    private readonly database: Database,
    private readonly metrics: Metrics,
    private readonly token: LaneToken | null,
    private readonly mutations: number,
    private readonly finished: (isCarriedOut: boolean) => void,
    private readonly settled: (error: RequestError | null, result?: CommitResult) => void,
    private readonly over: (result: CommitResult | null, isLate: boolean) => void,
  ) {
    this.#startedAt = database.clock.monotonic();
  }

  /** Tells those who wait that the outcome is not known, if the commit began before `olderThan`. */
  refuseIfOlder(olderThan: number): void {
    if (this.#startedAt >= olderThan) return;
    this.database.late();
    this.#settle(unavailable());
  }

  /** Carries it out. Resolves when the database is done with it, however long that takes; never rejects. */
  async commit(build: (atomic: Deno.AtomicOperation) => Deno.AtomicOperation): Promise<void> {
    const result = await this.#attempt(build);
    this.finished(result?.ok ?? false);
    const isLate = this.#isSettled;
    if (result === null) this.#settle(unavailable());
    else this.#settle(null, result);
    if (isLate || result === null) this.over(result, isLate);
  }

  /** Tries until it works, or will not; `null` then. */
  async #attempt(
    build: (atomic: Deno.AtomicOperation) => Deno.AtomicOperation,
  ): Promise<CommitResult | null> {
    for (let attempt = 1;; attempt++) {
      try {
        const result = await (this.token?.commit(build) ?? build(this.database.writer.atomic()).commit());
        const seconds = (this.database.clock.monotonic() - this.#startedAt) / 1_000;
        this.metrics.commitSeconds.observe(seconds);
        this.metrics.commitMutations.observe(this.mutations);
        this.metrics.counts.rowsWritten += this.mutations;
        return result;
      } catch (error) {
        if (!/database is locked/.test(String(error)) || attempt >= ATTEMPTS_MAX) {
          const { mutations } = this;
          log.error("a commit of {mutations} failed: {reason}", { mutations, reason: String(error) });
          return null;
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

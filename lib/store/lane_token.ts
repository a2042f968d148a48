/**
 * Commits that are carried out once, although a KV Connect client repeats what was not answered.
 *
 * A commit whose answer got lost is sent again, and what it adds up would be added twice, and what was deleted meanwhile
 * be there again. So each lane of a process has a row of its own, which every commit of the lane checks and rewrites: of
 * one that was carried out the repeat fails, and the row says that it was this very commit.
 * @module
 */
import { sleep, withDeadline } from "../clock.ts";
import { logger } from "../log.ts";
import type { Database } from "./database.ts";

const log = logger("store");

/**
 * How long a commit is repeated that fails for reasons which may pass; how long one attempt may take, since its connection
 * may be gone without a word; and the wait in between.
 */
const REPEAT_MS = { most: 300_000, attempt: 30_000, pause: 100 } as const;

/** How long the row lives when its lane does nothing. */
const KEPT_MS = 86_400_000;

/** What a database will not do however often it is asked. */
function isRefused(error: unknown): boolean {
  return error instanceof TypeError || /status=4\d\d/.test(String(error));
}

/** What a commit came to; of a batch of writes always `ok`. */
export type CommitResult = Deno.KvCommitResult | Deno.KvCommitError;

/** The row of one lane. One commit at a time. */
export class LaneToken {
  #version: string | null = null;

  /** @param key of the row: no other lane of any process may have it. */
  constructor(private readonly database: Database, private readonly key: Deno.KvKey) {}

  /**
   * Carries a commit out once, or not at all.
   *
   * @returns `ok: false` if a check of the commit itself failed.
   * @throws if the database refuses it, or does not come back for minutes.
   */
  async commit(build: (atomic: Deno.AtomicOperation) => Deno.AtomicOperation): Promise<CommitResult> {
    const mark = crypto.getRandomValues(new Uint8Array(8));
    const endsAt = this.database.clock.monotonic() + REPEAT_MS.most;
    for (;;) {
      try {
        const result = await this.#attempt(build, mark);
        if (result !== null) return result;
      } catch (error) {
        if (isRefused(error) || this.database.clock.monotonic() >= endsAt) throw error;
        log.warn("a commit is repeated: {reason}", { reason: String(error) });
        await sleep(this.database.clock, REPEAT_MS.pause * (0.5 + Math.random()));
      }
    }
  }

  /** One attempt; `null` if the row was not as expected, and is now. */
  async #attempt(
    build: (atomic: Deno.AtomicOperation) => Deno.AtomicOperation,
    mark: Uint8Array,
  ): Promise<CommitResult | null> {
    const atomic = this.database.writer.atomic().check({ key: this.key, versionstamp: this.#version })
      .set(this.key, mark, { expireIn: KEPT_MS });
    const result = await this.#soon(build(atomic).commit());
    if (result.ok) {
      this.#version = result.versionstamp;
      return result;
    }
    const { value, versionstamp } = await this.#soon(this.database.writer.get(this.key));
    if (value instanceof Uint8Array && value.every((byte, i) => byte === mark[i])) {
      this.#version = versionstamp;
      return versionstamp === null ? null : { ok: true, versionstamp };
    }
    if (versionstamp === this.#version) return result;
    this.#version = versionstamp;
    return null;
  }

  async #soon<T>(work: Promise<T>): Promise<T> {
    const waiting = this.database.whileCurrent(work);
    const result = await withDeadline(this.database.clock, waiting, REPEAT_MS.attempt, LATE);
    if (result === LATE) throw new Error("no answer");
    return result as T;
  }
}

const LATE = Symbol("late");

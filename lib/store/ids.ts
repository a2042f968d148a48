/**
 * Time-ordered ids: 16 bytes (UUIDv7), strictly increasing within a process, never going back across restarts.
 *
 * The clock may step. So ids never pass a mark that is durably reserved ahead, and after a restart they begin at it.
 * Between a step forward and the next reservation, ids stand still in time and count on in their sequence.
 * @module
 */
import { v7 } from "uuid";
import { TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import type { Database } from "./database.ts";
import { clockKey } from "./keys.ts";

const log = logger("store");

/** The largest sequence within one millisecond that the layout holds. */
const SEQUENCE_MAX = 0xffff_ffff;

/** What is reserved ahead of ids that are ahead of the clock: they stand still there until it has caught up. */
const AHEAD_MS = 1_000;

/** Makes ids. */
export class IdSource {
  #lastMs: number;
  #sequence = 0;
  #markMs: number;
  #reserving: Promise<void> | null = null;

  private constructor(private readonly database: Database, startMs: number, markMs: number) {
    this.#lastMs = startMs;
    this.#markMs = markMs;
  }

  /**
   * Begins after every id that was ever made on this database by a process that is gone.
   *
   * @throws if nothing can be reserved.
   */
  static async open(database: Database): Promise<IdSource> {
    const entry = await database.get(clockKey);
    const mark = entry?.value instanceof Deno.KvU64 ? Number(entry.value.value) : 0;
    // Past the mark itself: the process before may have stood still on it, counting its sequence on. Other processes may
    // be at work on a shared database: there a mark that their clocks explain is not waited for, or what is accepted here
    // would come behind what they accept within the next minute.
    const now = database.clock.now();
    const startMs = database.isShared && mark <= now + TIMES.idReserveMs ? Math.min(now, mark) : mark + 1;
    const ids = new IdSource(database, startMs, mark);
    await ids.#extend();
    return ids;
  }

  /** The next id. */
  next(): Uint8Array {
    const now = this.database.clock.now();
    if (now > this.#markMs - TIMES.idReserveMs / 2) void this.reserve();
    const ms = Math.min(now, this.#markMs);
    if (ms > this.#lastMs) {
      this.#lastMs = ms;
      this.#sequence = 0;
    } else if (this.#sequence < SEQUENCE_MAX) this.#sequence++;
    else {
      this.#lastMs++;
      this.#sequence = 0;
    }
    return v7({ msecs: this.#lastMs, seq: this.#sequence }, new Uint8Array(16));
  }

  /** Reserves another minute; harmless at any time. Failures are logged and tried again by the next call. */
  reserve(): Promise<void> {
    this.#reserving ??= this.#extend().catch((error) => {
      log.warn("ids can't be reserved: {reason}", { reason: String(error) });
    }).finally(() => {
      this.#reserving = null;
    });
    return this.#reserving;
  }

  async #extend(): Promise<void> {
    // A little ahead of the last id, if that is ahead of the clock: or every restart would carry it a minute further.
    const untilMs = Math.max(this.database.clock.now() + TIMES.idReserveMs, this.#lastMs + AHEAD_MS);
    if (untilMs <= this.#markMs) return;
    await this.database.whileCurrent(this.database.writer.atomic().max(clockKey, BigInt(untilMs)).commit());
    this.#markMs = untilMs;
  }
}

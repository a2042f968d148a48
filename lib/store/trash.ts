/**
 * The janitor: deletes what belonged to installations that are gone, in small commits, a few at a time.
 * @module
 */
import * as v from "valibot";
import type { Address } from "../address.ts";
import { TIMES } from "../limits.ts";
import type { Database } from "./database.ts";
import {
  inboxPrefix,
  lostKey,
  poolKey,
  preKeyPrefix,
  trashPrefix,
  usedPrefix,
  waitingPrefix,
} from "./keys.ts";
import { decodeRecord } from "./records.ts";
import type { Writer } from "./writer.ts";

/** Rows deleted in one go: small beside what senders write in the same time. */
const SWEEP_ROWS = 200;

/** Trash rows looked at in one go. */
const TRASH_ROWS = 20;

const trashFields = v.object({ at: v.number() });

/** Deletes what is left of installations. */
export class Trash {
  /** The last row that was looked at and was too young. */
  #after: Deno.KvKey | null = null;

  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /**
   * Deletes one portion.
   *
   * @returns whether more waits that may go now.
   */
  async sweep(): Promise<boolean> {
    const after = this.#after;
    const selector = after === null ? { prefix: trashPrefix } : { prefix: trashPrefix, start: [...after, 0] };
    const rows = await this.database.list(selector, { limit: TRASH_ROWS });
    for (const row of rows) {
      const [, userId, deviceId, epoch] = row.key;
      if (typeof userId !== "string" || typeof deviceId !== "number" || typeof epoch !== "string") continue;
      const { at } = decodeRecord(trashFields, row.key, row.value);
      // Sends that were judged on the old installation may still be under way.
      const age = this.database.clock.now() - at;
      if (age >= 0 && age < TIMES.trashAgeMs) continue;
      this.#after = null;
      await this.#sweepInstallation({ userId, deviceId }, epoch, row.key);
      return true;
    }
    // On to the next rows, so that somebody who makes new ones all the time holds nobody up.
    this.#after = rows.length === TRASH_ROWS ? rows.at(-1)?.key ?? null : null;
    return this.#after !== null;
  }

  async #sweepInstallation(address: Address, epoch: string, trash: Deno.KvKey): Promise<void> {
    for (const prefix of [preKeyPrefix, usedPrefix, inboxPrefix, waitingPrefix]) {
      const rows = await this.database.list({ prefix: prefix(address, epoch) }, { limit: SWEEP_ROWS });
      if (rows.length > 0) return await this.#delete(address.userId, rows.map((row) => row.key));
    }
    await this.#delete(address.userId, [poolKey(address, epoch), lostKey(address, epoch), trash]);
  }

  async #delete(userId: string, keys: readonly Deno.KvKey[]): Promise<void> {
    await this.writer.commit(userId, (atomic) => {
      for (const key of keys) atomic.delete(key);
      return atomic;
    });
  }
}

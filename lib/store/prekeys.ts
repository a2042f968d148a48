/**
 * One-time prekeys: a pool for each installation, and the memory of what left it.
 *
 * Invariant: a prekey leaves the pool in the same commit that remembers it as used. So whoever reads the pool first,
 * and what was used after it, sees every prekey that was ever uploaded and not replaced.
 * @module
 */
import { createHash } from "node:crypto";
import type { Address } from "../address.ts";
import type { Database } from "./database.ts";
import type { StoredDevice } from "./devices.ts";
import { deviceKey, preKeyPrefix, usedKey } from "./keys.ts";
import type { Writer } from "./writer.ts";

/** Which prekey goes first. */
export type PreKeyOrder = "fifo" | "lifo";

/** What a take led to. */
export interface Taken {
  /** `null` if none was left. */
  readonly preKey: Uint8Array | null;
  /** How many are left, counted no further than asked for. */
  readonly remaining: number;
}

function digestOf(preKey: Uint8Array): Uint8Array {
  return createHash("sha256").update(preKey).digest();
}

/** Reads and takes one-time prekeys. */
export class PreKeys {
  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /** How many there are, counted up to `limit`. */
  async count(address: Address, epoch: string, limit: number): Promise<number> {
    return (await this.database.list({ prefix: preKeyPrefix(address, epoch) }, { limit })).length;
  }

  /**
   * Tells which of the given prekeys are new to this installation: neither in the pool nor ever handed out.
   *
   * @returns them, each once, and how many are in the pool now.
   */
  async selectNew(
    address: Address,
    epoch: string,
    preKeys: readonly Uint8Array[],
    poolMax: number,
  ): Promise<{ fresh: Uint8Array[]; pooled: number }> {
    // The pool first: a prekey that is taken meanwhile is then found among the used ones.
    const pool = await this.database.list({ prefix: preKeyPrefix(address, epoch) }, { limit: poolMax });
    const known = new Set(
      pool.map((entry) => entry.value instanceof Uint8Array ? hex(digestOf(entry.value)) : ""),
    );
    const candidates = new Map<string, { preKey: Uint8Array; digest: Uint8Array }>();
    for (const preKey of preKeys) {
      const digest = digestOf(preKey);
      if (!known.has(hex(digest)) && !candidates.has(hex(digest))) {
        candidates.set(hex(digest), { preKey, digest });
      }
    }
    const rest = [...candidates.values()];
    const used = await this.database.getAll(rest.map(({ digest }) => usedKey(address, epoch, digest)));
    return {
      fresh: rest.filter((_, i) => used[i] === null).map(({ preKey }) => preKey),
      pooled: pool.length,
    };
  }

  /**
   * Takes one prekey out of the pool, for good.
   *
   * @param countMax how far the rest is counted.
   * @returns `null` if the device or the pool changed meanwhile: read the device again and repeat.
   * @throws {RequestError} `unavailable`: one may have been taken, and then nobody gets it.
   */
  async take(
    address: Address,
    device: StoredDevice,
    order: PreKeyOrder,
    countMax: number,
  ): Promise<Taken | null> {
    const { epoch } = device.record;
    const prefix = preKeyPrefix(address, epoch);
    const entries = await this.database.list({ prefix }, { limit: countMax + 1, reverse: order === "lifo" });
    const [first] = entries;
    if (first === undefined) return { preKey: null, remaining: 0 };
    if (!(first.value instanceof Uint8Array)) throw new Error("a prekey in the database is not bytes");
    const preKey = first.value;
    const key = usedKey(address, epoch, digestOf(preKey));
    const claim = crypto.getRandomValues(new Uint8Array(16));
    const result = await this.writer.commit(address.userId, (atomic) =>
      atomic
        .check({ key: deviceKey(address), versionstamp: device.versionstamp })
        .check(first)
        .delete(first.key)
        .set(key, claim));
    if (!result.ok) {
      // Over KV Connect a commit may be replayed by the client, and then fails its own checks.
      const used = await this.database.get(key);
      if (!(used?.value instanceof Uint8Array) || hex(used.value) !== hex(claim)) return null;
    }
    return { preKey, remaining: entries.length - 1 };
  }
}

function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

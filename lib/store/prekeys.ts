/**
 * One-time prekeys: a pool for each installation, and the memory of what left it.
 *
 * Invariant: a prekey leaves the pool in the same commit that remembers it as used. So whoever reads the pool first,
 * and what was used after it, sees every prekey that was ever uploaded and not replaced.
 * Invariant: the pool's count changes in the commits that change the pool.
 * @module
 */
import { createHash } from "node:crypto";
import type { Address } from "../address.ts";
import { type Claimed, claimMutation, type ClaimOf, readClaim, type TakenBundle } from "./claims.ts";
import type { Database, Entry } from "./database.ts";
import type { ListedDevice, StoredDevice } from "./devices.ts";
import { deviceKey, poolKey, preKeyPrefix, usedKey } from "./keys.ts";
import { mutate, type Writer } from "./writer.ts";

/** More rows than any pool has, even if its limit was lowered since. */
const POOL_ROWS_MAX = 1_000;

/** Which prekey goes first. */
export type PreKeyOrder = "fifo" | "lifo";

/** What a take led to. */
export interface Taken {
  readonly bundle: TakenBundle;
  /** How many are left in the pool. */
  readonly remaining: number;
}

/** How a Register changes a pool. */
export interface PoolChange {
  /** What is added, oldest first. */
  readonly fresh: readonly Uint8Array[];
  /** What goes, if the pool is replaced. */
  readonly replaced: {
    readonly keys: readonly Deno.KvKey[];
    /** How many stay, since they are among the new ones. */
    readonly kept: number;
    /** The version of the count on which this was judged. */
    readonly countVersion: string | null;
  } | null;
}

const digestOf = (preKey: Uint8Array): string => createHash("sha256").update(preKey).digest("hex");

const toCount = (entry: Entry | null | undefined): number =>
  entry?.value instanceof Deno.KvU64 ? Math.max(0, Number(BigInt.asIntN(64, entry.value.value))) : 0;

/** Reads and takes one-time prekeys. */
export class PreKeys {
  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /** How many an installation has. */
  async count(address: Address, epoch: string): Promise<number> {
    return toCount(await this.database.get(poolKey(address, epoch)));
  }

  /** What a claim was answered with before, for each device: `null` where it was not. */
  async claimed(
    claim: ClaimOf,
    devices: readonly (readonly [Address, epoch: string | undefined])[],
  ): Promise<(TakenBundle | null)[]> {
    const claims = await Promise.all(
      devices.map(([address, epoch]) => readClaim(this.database, claim, address, epoch)),
    );
    return claims.map(({ bundle }) => bundle);
  }

  /**
   * Judges an upload: what of it is new to this installation, neither in the pool nor ever handed out.
   *
   * @param replace whether what is in the pool and not among the uploaded ones goes.
   * @returns the change, and how many the pool has after it.
   */
  async judge(
    address: Address,
    epoch: string,
    preKeys: readonly Uint8Array[],
    replace: boolean,
  ): Promise<{ change: PoolChange; size: number }> {
    const count = replace ? await this.database.get(poolKey(address, epoch)) : null;
    // The pool first: a prekey that is taken meanwhile is then found among the used ones.
    const rows = await this.database.list({ prefix: preKeyPrefix(address, epoch) }, {
      limit: POOL_ROWS_MAX,
    });
    const pool = new Map(
      rows.map((row) => [row.value instanceof Uint8Array ? digestOf(row.value) : "", row.key]),
    );
    const uploaded = new Map(preKeys.map((preKey) => [digestOf(preKey), preKey]));
    const candidates = [...uploaded].filter(([digest]) => !pool.has(digest));
    const used = await this.database.getAll(candidates.map(([digest]) => usedKey(address, epoch, digest)));
    const fresh = candidates.filter((_, i) => used[i] === null).map(([, preKey]) => preKey);
    if (!replace) return { change: { fresh, replaced: null }, size: rows.length + fresh.length };
    const keys = [...pool].filter(([digest]) => !uploaded.has(digest)).map(([, key]) => key);
    const kept = rows.length - keys.length;
    const countVersion = count?.versionstamp ?? null;
    return { change: { fresh, replaced: { keys, kept, countVersion } }, size: kept + fresh.length };
  }

  /**
   * Takes one prekey out of a pool, for good, and makes the bundle that it goes into.
   *
   * @param claim whose repeated request gets the same bundle; `null` if it can't be told apart.
   * @returns `null` if the device or the pool changed meanwhile: read the device again and repeat.
   * @throws {RequestError} `unavailable`: one may have been taken, and then only the same claim gets it.
   */
  async take(
    address: Address,
    { device, listed }: { readonly device: StoredDevice; readonly listed: ListedDevice },
    order: PreKeyOrder,
    claim: ClaimOf | null,
  ): Promise<Taken | null> {
    const { epoch } = device.record;
    const [[first], count, claimed] = await Promise.all([
      this.database.list({ prefix: preKeyPrefix(address, epoch) }, { limit: 1, reverse: order === "lifo" }),
      this.database.get(poolKey(address, epoch)),
      claim === null ? null : readClaim(this.database, claim, address, epoch),
    ]);
    if (claimed?.bundle) return { bundle: claimed.bundle, remaining: toCount(count) };
    const { registrationId, identityKey } = listed;
    const preKey = first === undefined ? null : requireBytes(first.value);
    const bundle = { registrationId, identityKey, signedPreKey: device.record.signedPreKey, preKey };
    if (first === undefined && claim === null) return { bundle, remaining: 0 };
    const claiming = claim === null || claimed === null ? null : { claim, claimed };
    const isDone = await this.#commit(address, device, first, claiming, bundle);
    return isDone ? { bundle, remaining: Math.max(0, toCount(count) - (first === undefined ? 0 : 1)) } : null;
  }

  /** Takes a prekey, if there is one, and remembers the claim, if there is one. */
  async #commit(
    address: Address,
    device: StoredDevice,
    first: Entry | undefined,
    claiming: { readonly claim: ClaimOf; readonly claimed: Claimed } | null,
    bundle: TakenBundle,
  ): Promise<boolean> {
    const { epoch } = device.record;
    const taker = crypto.randomUUID();
    const key = bundle.preKey === null ? null : usedKey(address, epoch, digestOf(bundle.preKey));
    const result = await this.writer.commit(address.userId, (atomic) => {
      atomic.check({ key: deviceKey(address), versionstamp: device.versionstamp });
      if (first !== undefined && key !== null) {
        atomic.check(first).delete(first.key).set(key, new TextEncoder().encode(taker));
        atomic.sum(poolKey(address, epoch), BigInt.asUintN(64, -1n));
      }
      if (claiming !== null) {
        const mutation = claimMutation(claiming.claim, address, epoch, bundle, this.database.clock.now());
        atomic.check({ key: mutation.key, versionstamp: claiming.claimed.versionstamp });
        mutate(atomic, mutation);
      }
      return atomic;
    });
    if (result.ok || key === null) return result.ok;
    // Over KV Connect a commit may be replayed by the client, and then fails its own checks.
    const used = await this.database.get(key);
    return used?.value instanceof Uint8Array && new TextDecoder().decode(used.value) === taker;
  }
}

function requireBytes(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new Error("a prekey in the database is not bytes");
  return value;
}

/**
 * What every use case works with: the store, the budgets, and who is connected here.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { RequestError } from "../errors.ts";
import { TIMES } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import { sleep } from "../clock.ts";
import { Serial } from "../serial.ts";
import { type DeviceList, type Store, unavailable } from "../store/mod.ts";
import { Depths } from "./depth.ts";
import { Doorbell } from "./doorbell.ts";
import { InTurn } from "./in_turn.ts";
import { createRateLimits, type RateLimits } from "./rate_limits.ts";
import { SharedReads } from "./shared_reads.ts";
import { UserShares } from "./under_way.ts";

/** Everything that a use case needs. */
export interface Core {
  readonly config: Config;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly rates: RateLimits;
  readonly doorbell: Doorbell;
  readonly depths: Depths;
  /** Device lists as they are now, for requests that somebody may make by the hundred. */
  readonly lists: SharedReads<DeviceList>;
  /** What connections read of their own device and mailbox. */
  readonly ownReads: InTurn;
  /** Changes of one device's registration and pool, one at a time. */
  readonly serial: Serial;
  /** What each user has under way. */
  readonly shares: UserShares;
}

/** How many pieces of serial work may wait in a process. */
const SERIAL_WAITING_MAX = 10_000;

/** The wait after the first attempt that another process spoiled; grows with each further one. */
const CONFLICT_WAIT_MS = 2;

/** Makes the core. */
export function createCore(config: Config, clock: Clock, metrics: Metrics, store: Store): Core {
  return {
    config,
    clock,
    metrics,
    store,
    rates: createRateLimits(config, clock),
    doorbell: new Doorbell(store.sessions, clock),
    depths: new Depths(config, store, clock),
    lists: new SharedReads((userId) => store.devices.readList(userId)),
    ownReads: new InTurn(clock, unavailable),
    serial: new Serial(clock, TIMES.storageDeadlineMs, SERIAL_WAITING_MAX),
    shares: new UserShares(),
  };
}

/**
 * Repeats an attempt for as long as other processes come between, and storage's deadline allows.
 *
 * @param attempt resolves to `null` if something changed under it.
 * @throws {RequestError} `unavailable` if it never came through.
 */
export async function untilUndisturbed<T>(clock: Clock, attempt: () => Promise<T | null>): Promise<T> {
  const endsAt = clock.monotonic() + TIMES.storageDeadlineMs;
  for (let attempts = 1; clock.monotonic() < endsAt; attempts++) {
    const result = await attempt();
    if (result !== null) return result;
    await sleep(clock, Math.random() * CONFLICT_WAIT_MS * attempts);
  }
  throw unavailable();
}

/**
 * Refuses bytes that are too many.
 *
 * @throws {RequestError} `too_large`, with what was found and the limit.
 */
export function requireSize(what: string, bytes: number, bytesMax: number): void {
  if (bytes <= bytesMax) return;
  throw new RequestError("too_large", `${what} has ${bytes} bytes, at most ${bytesMax} are allowed`);
}

/**
 * Refuses a list that is too long.
 *
 * @throws {RequestError} `too_large`, with what was found and the limit.
 */
export function requireCount(what: string, count: number, countMax: number): void {
  if (count <= countMax) return;
  throw new RequestError("too_large", `${what} has ${count} entries, at most ${countMax} are allowed`);
}

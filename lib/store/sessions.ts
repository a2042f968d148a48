/**
 * Who has an address now, and the bells that are rung for it: what servers on one database tell each other.
 *
 * A connection writes its own id into the session record of its address. Each one watches that record with its bells:
 * a record newer than its own, with another id, means that it has been replaced.
 *
 * Where no other process can be, as on a file, nothing of this is written or watched.
 * @module
 */
import { sleep } from "../clock.ts";
import type { Address } from "../address.ts";
import { TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import type { Database, Entry } from "./database.ts";
import { lowKey, sessionKey, wakeKey } from "./keys.ts";
import type { Mutation, Writer } from "./writer.ts";

const log = logger("store");

/** What a connection hears through the database. */
export interface Watcher {
  /** Something may wait for the address. */
  woken(): void;
  /** The one-time prekeys of the address run low. */
  preKeysLow(): void;
  /** Another connection, somewhere, has the address now. */
  replaced(): void;
  /** The device was unregistered by another one of its user. */
  unregistered(): void;
}

/** How long to wait before a watch that broke is begun again, and the longest such wait. */
const WATCH_RETRY_MS = { first: 250, most: 10_000 } as const;

/** Session records and bells. */
export class Sessions {
  readonly #ringing = new Set<string>();

  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /** Whether other processes may have connections. */
  get isShared(): boolean {
    return this.database.isShared;
  }

  /**
   * Makes a connection the owner of an address.
   *
   * @param signal aborted when the connection is gone: a claim that still waits is then not made, or it would end a newer
   * connection at another process.
   * @returns the version of the record; an older one of somebody else does not count.
   * @throws {RequestError} `unavailable`.
   */
  claim(address: Address, connectionId: Uint8Array, signal?: AbortSignal): Promise<string> {
    const key = sessionKey(address);
    const mutations: Mutation[] = [{ key, change: connectionId, expireInMs: TIMES.sessionMs }];
    // What waits in a lane must keep its size: a ring, which harms nobody, takes its place.
    const giveUp = () => {
      mutations[0] = { key: wakeKey(address), change: connectionId, expireInMs: TIMES.sessionMs };
    };
    signal?.addEventListener("abort", giveUp, { once: true });
    return new Promise((resolve, reject) => {
      this.writer.write(address.userId, {
        mutations,
        settle: (error, result) => {
          signal?.removeEventListener("abort", giveUp);
          if (error === null && result?.ok) resolve(result.versionstamp);
          else reject(error);
        },
      });
    });
  }

  /**
   * Ends whatever connection has an address at another process: its device was unregistered by another one of its user.
   *
   * @throws {RequestError} `unavailable`.
   */
  async end(address: Address): Promise<void> {
    if (this.isShared) await this.claim(address, UNREGISTERED_SESSION);
  }

  /** What rings a bell of an address within a commit of somebody else's. */
  bell(address: Address, bell: "wake" | "low"): Mutation {
    const key = bell === "wake" ? wakeKey(address) : lowKey(address);
    return { key, change: crypto.getRandomValues(new Uint8Array(8)), expireInMs: TIMES.sessionMs };
  }

  /** Rings one of the bells of an address. Rings that wait to be written are rung once. */
  ring(address: Address, bell: "wake" | "low"): void {
    if (!this.isShared) return; // who has the address, if anybody, is in this process
    const mutation = this.bell(address, bell);
    const { key } = mutation;
    const name = key.join("/");
    // Within a lane nothing overtakes: a ring that still waits comes after everything that is durable by now.
    if (this.#ringing.has(name)) return;
    this.#ringing.add(name);
    this.writer.write(address.userId, {
      mutations: [mutation],
      settle: () => this.#ringing.delete(name),
    });
  }

  /** Listens for an address until `signal` is aborted. A watch that breaks is begun again. */
  async watch(
    address: Address,
    connectionId: Uint8Array,
    claimVersion: string,
    signal: AbortSignal,
    watcher: Watcher,
  ): Promise<void> {
    const keys = [wakeKey(address), sessionKey(address), lowKey(address)];
    const heard: (string | undefined)[] = [];
    const isNew = (index: number, entry: Entry | null | undefined) => {
      const before = heard[index];
      heard[index] = entry?.versionstamp ?? "";
      return entry !== null && entry !== undefined && entry.versionstamp !== before;
    };
    let retryMs: number = WATCH_RETRY_MS.first;
    while (!signal.aborted) {
      try {
        await this.database.watch(keys, signal, ([wake, session, low]) => {
          retryMs = WATCH_RETRY_MS.first;
          // The state at the start counts for `wake`, which may have been rung while nobody watched.
          if (isNew(0, wake)) watcher.woken();
          const isFirst = heard.length < 3;
          if (isNew(2, low) && !isFirst) watcher.preKeysLow();
          if (!session || session.versionstamp <= claimVersion || isOwn(session, connectionId)) return;
          if (isUnregistered(session)) watcher.unregistered();
          else watcher.replaced();
        });
      } catch (error) {
        if (!signal.aborted) log.warn("a watch broke: {reason}", { reason: String(error) });
      }
      if (signal.aborted) return;
      await sleep(this.database.clock, retryMs * (0.5 + Math.random()));
      retryMs = Math.min(retryMs * 2, WATCH_RETRY_MS.most);
    }
  }
}

/** What the session record of a device holds that was unregistered by another one: no connection's id. */
const UNREGISTERED_SESSION = Uint8Array.of(0);

function isUnregistered(session: Entry): boolean {
  return session.value instanceof Uint8Array && session.value.length === UNREGISTERED_SESSION.length;
}

function isOwn(session: Entry, connectionId: Uint8Array): boolean {
  return session.value instanceof Uint8Array && session.value.every((byte, i) => byte === connectionId[i]);
}

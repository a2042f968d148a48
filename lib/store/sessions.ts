/**
 * Which process has an address, and how servers on one database tell each other.
 *
 * The session record of an address names the process that has its connection. Whoever has something to tell leaves a row
 * for that process and rings its bell, the one key that the process watches: so a connection costs no watch, and a ring
 * for nobody costs no write. A process that is rung for an address which it has no more rings on.
 *
 * Where no other process can be, none of this is needed, and nothing is written.
 * @module
 */
import { type Address, addressKey, USER_ID_BYTES, userIdFromBytes, userIdToBytes } from "../address.ts";
import { readUint32, writeUint32 } from "../bytes.ts";
import { sleep } from "../clock.ts";
import { TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import type { Database, Entry } from "./database.ts";
import { bellKey, rungKey, rungPrefix, sessionKey } from "./keys.ts";
import { mutate, type Mutation, type Writer } from "./writer.ts";

const log = logger("store");

/** What a process is rung for: a message waits, one-time prekeys run low, the session record is another's. */
export type Bell = "wake" | "low" | "session";
const BELLS: readonly Bell[] = ["wake", "low", "session"];

/** A session record, as this process sees it. */
export interface SessionRecord {
  readonly owner: "here" | "elsewhere" | "unregistered";
  readonly versionstamp: string;
}

/** Bytes of a process's name. */
const PROCESS_BYTES = 16;

/** What the record of a device holds that was unregistered by another one of its user. */
const UNREGISTERED = Uint8Array.of(0);

/** How long to wait before a watch that broke is begun again, and the longest such wait. */
const WATCH_RETRY_MS = { first: 250, most: 10_000 } as const;

/** How long a row waits for its process. A connection without work looks for messages by itself, every minute. */
const RUNG_MS = { wake: 600_000, low: 600_000, session: TIMES.sessionMs } as const;

/** Rows that are read, and deleted, at once. */
const RUNG_PAGE = 400;

/** How often a claim is repeated that others come between. */
const CLAIM_ATTEMPTS_MAX = 20;

/** A ring that is on its way. */
interface Ringing {
  /** Whether it was rung for again while it was being found out for whom. */
  again: boolean;
  hasFoundOwner: boolean;
}

/** Session records and bells. */
export class Sessions {
  readonly #process = crypto.getRandomValues(new Uint8Array(PROCESS_BYTES));
  readonly #ringing = new Map<string, Ringing>();

  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /** Whether other processes may have connections. */
  get isShared(): boolean {
    return this.database.isShared;
  }

  /**
   * Makes this process the owner of an address, and tells the one that was.
   *
   * @param isWanted asked before each attempt.
   * @returns the version of the record; `null` if it is not wanted any more.
   * @throws {RequestError} `unavailable`.
   */
  async claim(address: Address, isWanted: () => boolean = () => true): Promise<string | null> {
    const key = sessionKey(address);
    for (let attempt = 1;; attempt++) {
      const entry = await this.database.get(key);
      if (!isWanted()) return null;
      const result = await this.#replace(address, entry, this.#process);
      if (result !== null) return result;
      if (attempt >= CLAIM_ATTEMPTS_MAX) throw new Error("others claim the address all the time");
    }
  }

  /**
   * Writes the record of an address again before it expires, unless it is another's by now.
   *
   * @throws {RequestError} `unavailable`.
   */
  async renew(address: Address): Promise<void> {
    const entry = await this.database.get(sessionKey(address));
    if (entry === null || this.#ownerOf(entry) === "here") await this.#replace(address, entry, this.#process);
  }

  /**
   * Ends whatever connection has an address: its device was unregistered by another one of its user.
   *
   * @throws {RequestError} `unavailable`.
   */
  async end(address: Address): Promise<void> {
    for (let attempt = 1; this.isShared && attempt <= CLAIM_ATTEMPTS_MAX; attempt++) {
      const entry = await this.database.get(sessionKey(address));
      if (entry === null || await this.#replace(address, entry, UNREGISTERED) !== null) return;
    }
  }

  /**
   * Reads the record of an address.
   *
   * @throws {RequestError} `unavailable`.
   */
  async read(address: Address): Promise<SessionRecord | null> {
    const entry = await this.database.get(sessionKey(address));
    return entry === null ? null : { owner: this.#ownerOf(entry), versionstamp: entry.versionstamp };
  }

  /** Rings for an address at the process that has it, if that is another one. Rings that wait are rung once. */
  ring(address: Address, bell: Exclude<Bell, "session">): void {
    if (!this.isShared) return;
    const name = `${bell}/${addressKey(address)}`;
    const ringing = this.#ringing.get(name);
    if (ringing === undefined) {
      const begun: Ringing = { again: false, hasFoundOwner: false };
      this.#ringing.set(name, begun);
      void this.#ring(address, bell, begun).finally(() => this.#ringing.delete(name));
    } // Within a lane nothing overtakes: a row that still waits comes after everything that is durable by now.
    else if (!ringing.hasFoundOwner) ringing.again = true;
  }

  /**
   * This process was rung for an address that has no connection here: rings on, or takes the record back that says it
   * has, so that nobody rings in vain again.
   *
   * @throws {RequestError} `unavailable`.
   */
  async pass(address: Address, bell: Exclude<Bell, "session">, isConnected: () => boolean): Promise<void> {
    const entry = await this.database.get(sessionKey(address));
    if (entry === null) return;
    if (this.#ownerOf(entry) !== "here") return this.ring(address, bell);
    if (isConnected()) return;
    await this.writer.commit(address.userId, (atomic) => atomic.check(entry).delete(entry.key));
  }

  /** Listens at the bell of this process until `signal` is aborted. A watch that breaks is begun again. */
  async listen(signal: AbortSignal, heard: (address: Address, bell: Bell) => void): Promise<void> {
    let retryMs: number = WATCH_RETRY_MS.first;
    let collecting: Promise<void> = Promise.resolve();
    let waiting = 0;
    const collect = () => {
      if (waiting > 1) return; // one under way, and one that begins after this
      waiting++;
      collecting = collecting.then(() => this.#collect(signal, heard)).catch((error) => {
        log.warn("what this process was rung for can't be read yet: {reason}", { reason: String(error) });
        if (!signal.aborted) this.database.clock.setTimer(retryMs, collect);
      }).finally(() => void waiting--);
    };
    while (!signal.aborted) {
      try {
        await this.database.watch([bellKey(this.#process)], signal, () => {
          retryMs = WATCH_RETRY_MS.first;
          collect();
        });
      } catch (error) {
        if (!signal.aborted) log.warn("a watch broke: {reason}", { reason: String(error) });
      }
      if (signal.aborted) break;
      await sleep(this.database.clock, retryMs * (0.5 + Math.random()));
      retryMs = Math.min(retryMs * 2, WATCH_RETRY_MS.most);
    }
    await collecting;
  }

  async #ring(address: Address, bell: Bell, ringing: Ringing): Promise<void> {
    try {
      do {
        ringing.again = false;
        const entry = await this.database.get(sessionKey(address));
        if (ringing.again) continue; // whoever has the address by now may not be in what was read
        if (entry === null || this.#ownerOf(entry) !== "elsewhere") return;
        ringing.hasFoundOwner = true;
        const mutations = this.#rungFor(entry, address, bell);
        await new Promise<void>((resolve) => {
          this.writer.write(address.userId, { mutations, settle: () => resolve() });
        });
        return;
      } while (ringing.again);
    } catch {
      return; // already in the log: a connection without work looks by itself now and then
    }
  }

  /** Puts something else into a record that is as it was read, and tells the process that it named; `null` if it is not. */
  async #replace(address: Address, entry: Entry | null, value: Uint8Array): Promise<string | null> {
    const key = sessionKey(address);
    const result = await this.writer.commit(address.userId, (atomic) => {
      atomic.check({ key, versionstamp: entry?.versionstamp ?? null });
      mutate(atomic, { key, change: value, expireInMs: TIMES.sessionMs });
      if (entry !== null && this.#ownerOf(entry) === "elsewhere") {
        for (const mutation of this.#rungFor(entry, address, "session")) mutate(atomic, mutation);
      }
      return atomic;
    });
    return result.ok ? result.versionstamp : null;
  }

  #ownerOf({ value }: Entry): SessionRecord["owner"] {
    if (!(value instanceof Uint8Array) || value.length !== PROCESS_BYTES) return "unregistered";
    return value.every((byte, i) => byte === this.#process[i]) ? "here" : "elsewhere";
  }

  /** What tells the process in a record something of an address. */
  #rungFor({ value }: Entry, { userId, deviceId }: Address, bell: Bell): Mutation[] {
    if (!(value instanceof Uint8Array)) return [];
    const id = crypto.getRandomValues(new Uint8Array(16));
    const row = new Uint8Array(1 + USER_ID_BYTES + 4);
    row[0] = BELLS.indexOf(bell);
    row.set(userIdToBytes(userId), 1);
    writeUint32(row, 1 + USER_ID_BYTES, deviceId);
    return [
      { key: rungKey(value, id), change: row, expireInMs: RUNG_MS[bell] },
      { key: bellKey(value), change: id, expireInMs: TIMES.sessionMs },
    ];
  }

  /** Tells of what this process was rung for, and deletes the rows. */
  async #collect(signal: AbortSignal, heard: (address: Address, bell: Bell) => void): Promise<void> {
    for (let isMore = true; isMore && !signal.aborted;) {
      const rows = await this.database.list({ prefix: rungPrefix(this.#process) }, { limit: RUNG_PAGE });
      isMore = rows.length === RUNG_PAGE;
      const [first] = rows;
      if (first === undefined) return;
      for (const { value } of rows) {
        if (!(value instanceof Uint8Array)) continue;
        const [userId, bell] = [userIdFromBytes(value, 1), BELLS[value[0] ?? -1]];
        if (userId === null || bell === undefined) continue;
        heard({ userId, deviceId: readUint32(value, 1 + USER_ID_BYTES) }, bell);
      }
      // Each ring has a row of its own: what is rung meanwhile is not deleted with it.
      await this.writer.commit("", (atomic) => {
        for (const { key } of rows) atomic.delete(key);
        return atomic;
      });
    }
  }
}

/**
 * What is stored in mailboxes, as it happens at the database: each row that a send left, who read it, who delivered it,
 * and whether its end was right.
 */
import { TIMES } from "../../lib/limits.ts";
import { decodeEntry } from "../../lib/store/mailbox_entry.ts";
import type { Connection } from "./connection.ts";
import type { Installations } from "./installations.ts";
import { orderOf } from "./kv_order.ts";
import type { Row } from "./kv_state.ts";
import type { Scheduler } from "./scheduler.ts";
import { isAsideKey, keyInMailbox } from "./set_aside.ts";
import { type Send, type Sends, tokenOf } from "./sends.ts";
import type { Verdict, WallHistory } from "./verdict.ts";

/** Why and where an Ack was taken. */
export interface Acknowledgement {
  readonly processId: number;
  readonly connectionId: number;
  readonly at: number;
}

/** A message in a mailbox. */
export interface Copy {
  readonly token: number;
  /** The row's bytes. */
  readonly value: Uint8Array;
  readonly device: string;
  readonly epoch: string;
  readonly expiresAt: number;
  readonly timestamp: number;
  readonly transient: boolean;
  readonly storedAt: number;
  readonly storedBy: number;
  readonly isOfRetry: boolean;
  /** When the process that stored it knew. */
  knownAt: number;
  /** When each process last read it. */
  readonly readAt: Map<number, number>;
  acknowledged: Acknowledgement | null;
  /** When it was deleted, and whether what deletes it met with trouble. */
  deletedAt: number;
  /** When a commit last stored it or deleted it, whether or not there was anything to delete: it is counted then. */
  touchedAt: number;
  isDeletionTroubled: boolean;
  /** How often it was sent on each connection. */
  readonly deliveries: Map<number, number>;
  hasArrived: boolean;
  /** On how many connections that ended it was the oldest and the client dealt with others, or refused it. */
  notDealtWith: number;
  /** Whether it was moved behind its mailbox. */
  isAside: boolean;
}

/** Everything that a copy's fate is judged by. */
export interface Grounds {
  readonly scheduler: Scheduler;
  readonly verdict: Verdict;
  readonly walls: WallHistory;
  readonly installations: Installations;
  readonly sends: Sends;
}

/** A clock that went back more than a stretch of the memory of sends, or on for more than all of them, hides one. */
const REMEMBERED_MS = { back: 600_000, on: 3_600_000 } as const;

/** The device that a key is about: its second and third part. */
export function deviceOf([, userId, deviceId]: Deno.KvKey): string {
  return `${String(userId)}/${String(deviceId)}`;
}

/** All copies of a run. */
export class Copies {
  readonly #byName = new Map<string, Copy>();
  readonly #byTarget = new Map<string, Copy[]>();
  /** What was stored by commits of which the process does not know. */
  readonly #unknown = new Map<string, Copy[]>();

  constructor(private readonly grounds: Grounds) {}

  get all(): Iterable<Copy> {
    return this.#byName.values();
  }

  /** What was stored under a key. */
  get(key: Deno.KvKey): Copy | undefined {
    return this.#byName.get(orderOf(keyInMailbox(key)));
  }

  /** The copies of a send in the mailboxes of a device, the oldest first. */
  of(token: number, device: string): readonly Copy[] {
    return this.#byTarget.get(`${token}>${device}`) ?? [];
  }

  /** A row was written. */
  stored(
    processId: number,
    key: Deno.KvKey,
    value: Uint8Array,
    versionstamp: string,
    isOfRetry: boolean,
  ): void {
    const entry = decodeEntry({ key, value });
    const name = orderOf(key);
    if (entry === null || this.#byName.has(name)) {
      return this.grounds.verdict.broke("a row of a mailbox is no message");
    }
    const device = deviceOf(key);
    const copy: Copy = {
      token: tokenOf(entry.ciphertext),
      value,
      device,
      epoch: entry.epoch,
      expiresAt: entry.expiresAt,
      timestamp: entry.timestamp,
      transient: entry.transient,
      storedAt: this.grounds.scheduler.elapsed,
      storedBy: processId,
      isOfRetry,
      knownAt: Infinity,
      readAt: new Map(),
      acknowledged: null,
      deletedAt: Infinity,
      touchedAt: this.grounds.scheduler.elapsed,
      isDeletionTroubled: false,
      deliveries: new Map(),
      hasArrived: false,
      notDealtWith: 0,
      isAside: false,
    };
    this.#judgeRepeat(copy, this.of(copy.token, device));
    this.#byName.set(name, copy);
    this.#unknown.set(versionstamp, [...this.#unknown.get(versionstamp) ?? [], copy]);
    this.#byTarget.set(`${copy.token}>${device}`, [...this.of(copy.token, device), copy]);
  }

  /** A process learned that a commit was carried out. */
  known(versionstamp: string): void {
    for (const copy of this.#unknown.get(versionstamp) ?? []) copy.knownAt = this.grounds.scheduler.elapsed;
    this.#unknown.delete(versionstamp);
  }

  /** A row is to be deleted, and that meets with trouble. */
  deletionIsTroubled(key: Deno.KvKey): void {
    const copy = this.get(key);
    if (copy !== undefined) copy.isDeletionTroubled = true;
  }

  /** A row was deleted: rightly, if it was acknowledged, has expired, or belongs to an installation that is gone. */
  deleted(key: Deno.KvKey): void {
    const copy = this.get(key);
    if (copy !== undefined) copy.touchedAt = this.grounds.scheduler.elapsed;
    // At its other place there is nothing to delete.
    if (copy === undefined || copy.deletedAt !== Infinity || copy.isAside !== isAsideKey(key)) return;
    copy.deletedAt = this.grounds.scheduler.elapsed;
    if (copy.acknowledged !== null || this.mayHaveExpired(copy) || !this.isCurrent(copy)) return;
    this.grounds.verdict.broke(
      `message ${copy.token} for ${copy.device} was deleted, and nobody acknowledged it`,
    );
  }

  /** A process has read rows. */
  read(processId: number, rows: readonly Row[]): void {
    for (const { key } of rows) {
      if (key[0] === "inbox") this.get(key)?.readAt.set(processId, this.grounds.scheduler.elapsed);
    }
  }

  /** Whether its time has passed, or some process's clock has shown so. */
  mayHaveExpired({ storedAt, timestamp, expiresAt }: Copy): boolean {
    const { walls, scheduler } = this.grounds;
    return scheduler.elapsed - storedAt >= expiresAt - timestamp ||
      walls.extremes(storedAt).latest >= expiresAt;
  }

  /** Whether the installation that it is for is still there. */
  isCurrent({ device, epoch }: Copy): boolean {
    return this.grounds.installations.current(device)?.epoch === epoch;
  }

  /**
   * Whether an acknowledged message may come again on a connection (protocol §5): it was got before its deletion, and
   * either by another process than the one that was told of the Ack, or the deletion met with trouble in storage: it
   * failed, or was not carried out in storage's time.
   */
  mayComeAgain(copy: Copy, connection: Connection): boolean {
    const { id } = connection.process;
    const { acknowledged } = copy;
    if (acknowledged === null) return true;
    const wasReadBefore = (copy.readAt.get(id) ?? -1) >= connection.openedAt &&
      (copy.readAt.get(id) ?? Infinity) <= copy.deletedAt;
    const isHandedOver = copy.storedBy === id && copy.knownAt >= connection.openedAt;
    if (!wasReadBefore && !isHandedOver) return false;
    const isSwallowed = copy.isDeletionTroubled ||
      Math.min(copy.deletedAt, this.grounds.scheduler.elapsed) - acknowledged.at > TIMES.storageDeadlineMs;
    return acknowledged.processId !== id || isSwallowed;
  }

  /** A repeat with the retry flag is stored once; what may come between is in protocol §4. */
  #judgeRepeat(copy: Copy, before: readonly Copy[]): void {
    const { sends, verdict, walls } = this.grounds;
    const send = sends.get(copy.token);
    if (send === undefined) return verdict.broke(`message ${copy.token} was never sent`);
    const [first] = before;
    if (first === undefined) return;
    const { latest, earliest } = walls.extremes(first.storedAt);
    const isForgotten = latest >= first.timestamp + REMEMBERED_MS.on ||
      earliest < first.timestamp - REMEMBERED_MS.back;
    if (isForgotten) return;
    const what = `message ${copy.token} for ${copy.device}`;
    const here = (retry: boolean) => takenBy(send, copy.storedBy, retry);
    const retriedAt = Math.min(...here(true));
    if (copy.isOfRetry) {
      // Only what another process made durable as it was looked for can be missed, where it has no row of its own.
      const isMissed = before.every((earlier) =>
        !send.isToAll && !earlier.isOfRetry && earlier.storedBy !== copy.storedBy &&
        earlier.storedAt >= retriedAt
      );
      if (!isMissed) verdict.broke(`${what} was sent again, and stored twice`);
      return;
    }
    const isRetriedHere = before.some(({ isOfRetry, storedBy }) => isOfRetry && storedBy === copy.storedBy);
    if (isRetriedHere && here(false).every((at) => at < retriedAt)) {
      verdict.broke(`${what} was sent again, and its repeat did not wait for it`);
    }
    const plain = send.attempts.reduce((sum, { retry, taken }) => sum + (retry ? 0 : taken.length), 0);
    if (before.filter(({ isOfRetry }) => !isOfRetry).length + 1 > plain) {
      verdict.broke(`${what} was stored more often than it was sent`);
    }
  }
}

/** When a process took the frames of a send, repeats or others. */
function takenBy({ attempts }: Send, processId: number, isRetry: boolean): number[] {
  return attempts.filter(({ retry }) => retry === isRetry)
    .flatMap(({ taken }) => taken.filter((frame) => frame.processId === processId).map(({ at }) => at));
}

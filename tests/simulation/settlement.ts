/** What must be true once everything has come to rest: nothing waits, nothing is missing, every count is right. */
import { decodeEntry } from "../../lib/store/mailbox_entry.ts";
import { TIMES } from "../../lib/limits.ts";
import { bucketOf, unpackTally } from "../../lib/store/tally.ts";
import type { Client } from "./client.ts";
import type { Connection } from "./connection.ts";
import { type Copy, deviceOf } from "./copies.ts";
import type { Evidence } from "./evidence.ts";
import { rangeOf } from "./kv_order.ts";
import type { KvState, Row } from "./kv_state.ts";
import type { ServerProcess } from "./server_process.ts";

/** Timers of a process that has nothing to do: its maintenance and its tick; and of each connection. */
const TIMERS = { process: 12, connection: 4 } as const;

/** The longest time from one look of a connection at what it has to the next, and some more for the look. */
const LOOK_MS = 1.25 * TIMES.mailboxLookMs + 5_000;

/** Judges a world that is at rest. */
export class Settlement {
  constructor(
    private readonly evidence: Evidence,
    private readonly state: KvState,
    private readonly clients: readonly Client[],
    private readonly processes: readonly ServerProcess[],
    private readonly isShared: boolean,
  ) {}

  /**
   * Whatever is stored has been sent on the connection that its recipient has, if nothing is under way there: nobody
   * need come back for it, whatever bell was not heard, and whatever Register was carried out late.
   */
  judgeArrivals(): void {
    const { copies, verdict, deliveries } = this.evidence;
    for (const { address: { userId, deviceId }, connection } of this.clients) {
      if (connection === null || !connection.isOpen || !deliveries.isIdle(connection)) continue;
      const device = `${userId}/${deviceId}`;
      const all = [...copies.all].filter((copy) => copy.device === device && copies.isCurrent(copy));
      if (this.#mayNotKnow(connection, device, all)) continue;
      for (const copy of all) {
        if (copy.hasArrived || copy.isAside || copy.deliveries.has(connection.id)) continue;
        if (copies.mayHaveExpired(copy) || copy.deletedAt !== Infinity) continue;
        verdict.broke(
          `message ${copy.token} for ${device}, stored after ${copy.storedAt} ms, was not sent on its connection`,
        );
      }
    }
  }

  /**
   * Whether a connection may not know its device's installation: a Register of an earlier connection made it since, and
   * no message for it came from this process; or there was no time to look.
   */
  #mayNotKnow(connection: Connection, device: string, copies: readonly Copy[]): boolean {
    const { installations, scheduler } = this.evidence;
    const { process, openedAt } = connection;
    const installation = installations.current(device);
    if (installation === null || installation.from < openedAt) return false;
    const since = scheduler.elapsed - LOOK_MS;
    if (installation.from > since) return true;
    if (installation.by === process.id && this.evidence.hasRegistered(connection)) return false;
    return !copies.some(({ storedBy, knownAt }) => storedBy === process.id && knownAt < since);
  }

  /** Judges all of it. */
  judge(): void {
    this.evidence.answers.judgeAtEnd();
    this.#judgeDeliveries();
    this.#judgeLost();
    for (const { device, installation } of this.evidence.installations.all()) {
      this.#judgeCounts(device, installation.epoch);
    }
    this.#judgeProcesses();
  }

  /** Judges what is left of installations that are gone, once their time is over. */
  judgeLeftovers(): void {
    this.#judgeTrash();
    this.#judgeProcesses();
  }

  /** Whatever is stored has arrived, or has expired, or its installation is gone. */
  #judgeDeliveries(): void {
    const { copies, verdict } = this.evidence;
    for (const copy of copies.all) {
      if (copy.acknowledged !== null && copies.isCurrent(copy) && copy.deletedAt === Infinity) {
        // What has expired may have been collected by the database itself.
        if (!copies.mayHaveExpired(copy)) {
          verdict.broke(`message ${copy.token} for ${copy.device} has an Ack, and is stored`);
        }
      }
      if (copy.hasArrived || !copies.isCurrent(copy) || copies.mayHaveExpired(copy)) continue;
      const isGone = copy.deletedAt === Infinity
        ? "it is still stored"
        : `it was deleted after ${copy.deletedAt} ms`;
      verdict.broke(
        `message ${copy.token} for ${copy.device}, of process ${copy.storedBy}, never arrived: ${isGone}`,
      );
    }
  }

  /** Every message that expired, or found the mailbox full, was told as lost; and no more than may have been. */
  #judgeLost(): void {
    const { copies, verdict, answers, installations, lost } = this.evidence;
    for (const { address, version } of this.clients) {
      const device = `${address.userId}/${address.deviceId}`;
      if (version === 1 || installations.current(device) === null) continue;
      const { sum, most, toldAt } = lost.get(device) ?? { sum: 0, most: 0, toldAt: 0 };
      // An Ack may come when the message has been counted as lost already: then it is both.
      const gone = [...copies.all].filter((copy) =>
        copy.device === device && !copy.transient && copies.mayHaveExpired(copy)
      );
      const surely = gone.filter((copy) =>
        copy.acknowledged === null && copies.isCurrent(copy) && copy.deletedAt < toldAt
      );
      if (sum < surely.length) {
        verdict.broke(`${device} lost ${surely.length} messages, and was told of ${sum}`);
      }
      const perhaps = gone.length + (answers.refusedFull.get(device) ?? 0);
      if (most > perhaps) {
        verdict.broke(`${device} was told of ${most} lost messages, and there were ${perhaps}`);
      }
    }
  }

  /** What is counted is what is there. */
  #judgeCounts(device: string, epoch: string): void {
    const { verdict, walls } = this.evidence;
    // What is counted in a stretch that is over has expired, and waits to be told; its rows may have been collected.
    const isOpen = (bucket: number) => bucket >= bucketOf(walls.extremes(0).latest);
    const waiting = this.#rows("waiting", device, epoch).filter(({ key }) => isOpen(Number(key.at(-1))))
      .map(({ value }) => unpackTally(value));
    const entries = this.#rows("inbox", device, epoch).flatMap((row) => decodeEntry(row) ?? []);
    const messages = entries.filter((entry) => !entry.transient && isOpen(bucketOf(entry.expiresAt))).length;
    const counted = waiting.reduce((sum, amount) => sum + amount.messages, 0);
    if (counted !== messages) {
      verdict.broke(`${device} has ${messages} messages waiting, and ${counted} are counted`);
    }
    const pool = this.#rows("prekey", device, epoch).length;
    const [, userId, deviceId] = device.match(/^(.*)\/(.*)$/) ?? [];
    const row = this.state.get(["pool", String(userId), Number(deviceId), epoch]);
    const pooled = row?.value instanceof Deno.KvU64 ? Number(row.value.value) : 0;
    if (pool !== pooled) verdict.broke(`${device} has ${pool} prekeys, and ${pooled} are counted`);
  }

  /** What belonged to an installation that is gone is gone, but for what came after the trash was taken out. */
  #judgeTrash(): void {
    const { copies, installations, verdict } = this.evidence;
    const late = new Set<string>();
    for (const { device, epoch, touchedAt } of copies.all) {
      const sweptAt = installations.find(device, epoch)?.sweptAt ?? 0;
      if (touchedAt > sweptAt) late.add(`${device}/${epoch}`);
    }
    for (const kind of ["inbox", "prekey", "used", "waiting", "pool", "lost"]) {
      const { start, end } = rangeOf({ prefix: [kind] });
      for (const { key } of this.state.range(start, end, 1e9, false)) {
        const device = deviceOf(key);
        const epoch = String(key[3]);
        if (installations.current(device)?.epoch === epoch || late.has(`${device}/${epoch}`)) continue;
        verdict.broke(`a row "${kind}" of ${device} is left of an installation that is gone`);
      }
    }
  }

  /** Nothing is under way, and nothing was left behind. */
  #judgeProcesses(): void {
    const { verdict, bounds } = this.evidence;
    if (bounds.unanswered > 0) verdict.broke(`${bounds.unanswered} requests were never answered`);
    for (const { id, isIdle, clock, sessions: open } of this.processes) {
      if (!isIdle) verdict.broke(`process ${id} still has something to store`);
      const most = TIMERS.process + TIMERS.connection * open.size;
      if (clock.pending > most) {
        verdict.broke(`process ${id} has ${clock.pending} timers, at most ${most} are explained`);
      }
    }
    // Each connection watches its bells where several processes share the database; a process that is alone, nothing.
    const { watches } = this.state;
    const open = this.processes.reduce((sum, { sessions }) => sum + sessions.size, 0);
    const expected = this.isShared ? open : 0;
    if (watches !== expected) verdict.broke(`${watches} watches are open, for ${open} connections`);
    this.#judgeSessions();
  }

  /** Who has which address is in storage, where there are several processes. */
  #judgeSessions(): void {
    const { verdict } = this.evidence;
    for (const { address: { userId, deviceId }, isConnected } of this.clients) {
      const value = this.state.get(["session", userId, deviceId])?.value;
      if (this.isShared && !isConnected) continue;
      if ((value instanceof Uint8Array) !== this.isShared) {
        verdict.broke(`${userId}/${deviceId} has ${value === undefined ? "no" : "a"} session record`);
      }
    }
  }

  #rows(kind: string, device: string, epoch: string): Row[] {
    const [, userId, deviceId] = device.match(/^(.*)\/(.*)$/) ?? [];
    const { start, end } = rangeOf({ prefix: [kind, String(userId), Number(deviceId), epoch] });
    return this.state.range(start, end, 1e9, false);
  }
}

/**
 * What is delivered, at the moment when the server sends it: what is stored, not expired, not acknowledged, in order,
 * within the window; and what was acknowledged.
 */
import { DELIVERY, QUEUES } from "../../lib/limits.ts";
import type { Connection } from "./connection.ts";
import type { Copies, Copy, Grounds } from "./copies.ts";

/** A message that is under way on a connection. */
interface UnderWay {
  readonly copy: Copy;
  readonly bytes: number;
  /** Whether it takes a place in the window: not if the client refused it, or it was moved behind the mailbox. */
  place: "in window" | "refused" | "aside";
}

/** What is under way on one connection. */
interface Window {
  readonly bySequence: Map<number, UnderWay>;
  /** The highest sequence that was acknowledged, of what was not moved behind the mailbox. */
  acknowledgedUpTo: number;
  /** The latest place that came, of each connection that sent. */
  readonly positions: Map<number, number>;
}

/** A message on its way to its recipient. */
export interface Delivery {
  readonly sequence: number;
  readonly token: number;
  /** What is stored of it. */
  readonly copy: Copy | undefined;
  readonly bytes: number;
  readonly isAside: boolean;
}

/** Watches over deliveries. */
export class Deliveries {
  readonly #windows = new Map<number, Window>();
  /** The latest place of what came for the first time, by sending connection and mailbox. */
  readonly #firsts = new Map<string, { readonly position: number; readonly what: string }>();
  count = 0;

  constructor(private readonly grounds: Grounds, private readonly copies: Copies) {}

  /** A server sends a message to its recipient. */
  sent(connection: Connection, { sequence, token, copy, bytes, isAside }: Delivery): void {
    this.count++;
    const { verdict } = this.grounds;
    const device = `${connection.address.userId}/${connection.address.deviceId}`;
    const what = `message ${token} for ${device}`;
    if (copy?.token !== token) return verdict.broke(`${what} was delivered, and is not stored`);
    const { clock } = connection.process;
    if (copy.expiresAt <= clock.now()) verdict.broke(`${what} was delivered after its expiry`);
    const installation = this.grounds.installations.find(device, copy.epoch);
    if ((installation?.until ?? -1) < connection.openedAt) {
      verdict.broke(`${what} was delivered, and is for an installation that is gone`);
    }
    if (!this.copies.mayComeAgain(copy, connection)) {
      verdict.broke(`${what} was delivered again after its Ack, on connection ${connection.id}`);
    }
    const onThis = copy.deliveries.get(connection.id) ?? 0;
    if (onThis > 0) verdict.broke(`${what} was delivered twice on connection ${connection.id}`);
    if (!isAside) this.#judgeOrder(connection, copy, what);
    copy.deliveries.set(connection.id, onThis + 1);
    const { bySequence } = this.#window(connection);
    bySequence.set(sequence, { copy, bytes, place: isAside ? "aside" : "in window" });
    this.#judgeWindow(connection, [...bySequence.values()]);
  }

  #judgeWindow({ id }: Connection, all: readonly UnderWay[]): void {
    const inWindow = all.filter(({ place }) => place === "in window");
    const bytesBefore = inWindow.slice(0, -1).reduce((sum, { bytes }) => sum + bytes, 0);
    const aside = all.filter(({ place }) => place === "aside").length;
    const isOver = inWindow.length > QUEUES.windowMessagesMax || bytesBefore >= QUEUES.windowBytesMax;
    if (isOver || aside > DELIVERY.asideMessagesMax) {
      this.grounds.verdict.broke(
        `${inWindow.length} messages, and ${aside} more, are under way on connection ${id}`,
      );
    }
  }

  /** A server takes an Ack. */
  acknowledged(connection: Connection, sequence: number): void {
    const window = this.#window(connection);
    const found = window.bySequence.get(sequence);
    if (found === undefined) return;
    window.bySequence.delete(sequence);
    if (found.place !== "aside") window.acknowledgedUpTo = Math.max(window.acknowledgedUpTo, sequence);
    found.copy.hasArrived = true;
    found.copy.acknowledged ??= {
      processId: connection.process.id,
      connectionId: connection.id,
      at: this.grounds.scheduler.elapsed,
    };
  }

  /** A server takes an Error for a message: it waits on, and holds nothing up. */
  refused(connection: Connection, sequence: number): void {
    const found = this.#window(connection).bySequence.get(sequence);
    if (found?.place === "in window") found.place = "refused";
  }

  /** Whether no message that its client has not dealt with takes a place on a connection. */
  isIdle(connection: Connection): boolean {
    const all = [...this.#window(connection).bySequence.values()];
    return all.every(({ place, copy }) => place !== "in window" || !this.copies.isCurrent(copy));
  }

  /** A connection is over: its oldest message counts, if the client did not deal with it, though with others. */
  ended(connection: Connection): void {
    const { bySequence, acknowledgedUpTo } = this.#window(connection);
    const sequences = [...bySequence].filter(([, { place }]) => place !== "aside").map(([sequence]) =>
      sequence
    );
    const oldest = Math.min(...sequences);
    const underWay = bySequence.get(oldest);
    if (underWay === undefined) return;
    if (underWay.place === "refused" || oldest < acknowledgedUpTo) underWay.copy.notDealtWith++;
  }

  /** The client registered anew: what was under way for the installation before is nobody's any more. */
  restarted(connection: Connection): void {
    const window = this.#window(connection);
    for (const [sequence, { copy }] of window.bySequence) {
      if (!this.copies.isCurrent(copy)) window.bySequence.delete(sequence);
    }
  }

  /**
   * Of one sending connection, what comes first comes in its order; and so does all that comes on one connection. What
   * was sent more than once has more than one place, and is left out; so is what may come again, and what has expired by
   * the clock of a process that passed it over, and not by that of the next.
   */
  #judgeOrder(connection: Connection, copy: Copy, what: string): void {
    const send = this.grounds.sends.get(copy.token);
    const [attempt] = send?.attempts ?? [];
    if (send?.attempts.length !== 1 || attempt?.taken.length !== 1 || copy.acknowledged !== null) return;
    if (this.copies.mayHaveExpired(copy)) return;
    const { connectionId, position } = attempt;
    const { positions } = this.#window(connection);
    if (position < (positions.get(connectionId) ?? 0)) {
      this.grounds.verdict.broke(`${what} was delivered behind a later one, on connection ${connection.id}`);
    }
    positions.set(connectionId, position);
    if (copy.deliveries.size > 0) return;
    const pair = `${connectionId}>${copy.device}/${copy.epoch}`;
    const latest = this.#firsts.get(pair);
    if (latest !== undefined && position < latest.position) {
      this.grounds.verdict.broke(
        `${what} came on connection ${connection.id}, behind a later one: ${latest.what}`,
      );
    } else this.#firsts.set(pair, { position, what: `${copy.token} on connection ${connection.id}` });
  }

  #window({ id }: Connection): Window {
    let window = this.#windows.get(id);
    if (window === undefined) {
      window = { bySequence: new Map(), acknowledgedUpTo: 0, positions: new Map() };
      this.#windows.set(id, window);
    }
    return window;
  }
}

/**
 * What is delivered, at the moment when the server sends it: what is stored, not expired, not acknowledged, in order,
 * within the window; and what was acknowledged.
 */
import { QUEUES } from "../../lib/limits.ts";
import type { Connection } from "./connection.ts";
import type { Copies, Copy, Grounds } from "./copies.ts";

/** What is under way on one connection. */
interface Window {
  readonly bySequence: Map<number, { readonly copy: Copy; readonly bytes: number }>;
  bytes: number;
  /** The latest place that came, of each connection that sent. */
  readonly positions: Map<number, number>;
}

/** Watches over deliveries. */
export class Deliveries {
  readonly #windows = new Map<number, Window>();
  /** The latest place of what came for the first time, by sending connection and mailbox. */
  readonly #firsts = new Map<string, { readonly position: number; readonly what: string }>();
  count = 0;

  constructor(private readonly grounds: Grounds, private readonly copies: Copies) {}

  /** A server sends a message to its recipient. */
  sent(
    connection: Connection,
    sequence: number,
    token: number,
    copy: Copy | undefined,
    bytes: number,
  ): void {
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
    this.#judgeOrder(connection, copy, what);
    copy.deliveries.set(connection.id, onThis + 1);
    const window = this.#window(connection);
    window.bySequence.set(sequence, { copy, bytes });
    window.bytes += bytes;
    const isOver = window.bySequence.size > QUEUES.windowMessagesMax ||
      window.bytes - bytes >= QUEUES.windowBytesMax;
    if (isOver) {
      verdict.broke(`${window.bySequence.size} messages are under way on connection ${connection.id}`);
    }
  }

  /** A server takes an Ack. */
  acknowledged(connection: Connection, sequence: number): void {
    const window = this.#window(connection);
    const found = window.bySequence.get(sequence);
    if (found === undefined) return;
    window.bySequence.delete(sequence);
    window.bytes -= found.bytes;
    found.copy.hasArrived = true;
    found.copy.acknowledged ??= {
      processId: connection.process.id,
      connectionId: connection.id,
      at: this.grounds.scheduler.elapsed,
    };
  }

  /** The client registered anew: what was under way for the installation before is nobody's any more. */
  restarted(connection: Connection): void {
    const window = this.#window(connection);
    for (const [sequence, { copy, bytes }] of window.bySequence) {
      if (this.copies.isCurrent(copy)) continue;
      window.bySequence.delete(sequence);
      window.bytes -= bytes;
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
    if (send?.attempts.length !== 1 || attempt?.taken !== 1 || copy.acknowledged !== null) return;
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
      window = { bySequence: new Map(), bytes: 0, positions: new Map() };
      this.#windows.set(id, window);
    }
    return window;
  }
}

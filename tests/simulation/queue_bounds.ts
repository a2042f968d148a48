/** Every queue that can be seen from outside has its bound: mailboxes, sockets, requests that are not answered. */
import { QUEUES } from "../../lib/limits.ts";
import type { Connection } from "./connection.ts";
import { rangeOf } from "./kv_order.ts";
import type { Change, KvState } from "./kv_state.ts";
import { isCountKey } from "./set_aside.ts";
import type { Verdict } from "./verdict.ts";

/** What the answers of one turn may add after the bound was passed. */
const ONE_FRAME_BYTES = 1_048_576;

/** Watches over bounds. */
export class QueueBounds {
  readonly #unanswered = new Map<number, number>();
  /** The most that was seen. */
  readonly most = { mailbox: 0, unanswered: 0, bufferedBytes: 0 };

  #isTroubled = false;

  constructor(
    private readonly verdict: Verdict,
    private readonly state: KvState,
    private readonly isShared: boolean,
    private readonly mailboxMessagesMax: number,
  ) {}

  /** The outcome of a commit may not be known in time: then a mailbox's room is judged without it. */
  troubled(): void {
    this.#isTroubled = true;
  }

  /** Rows were written: no mailbox holds more than it may. Transient ones are not counted there. */
  committed(changes: readonly Change[]): void {
    const prefixes = new Map<string, Deno.KvKey>();
    for (const { type, key } of changes) {
      if (type === "set" && key[0] === "inbox") prefixes.set(key.slice(0, 4).join("/"), key.slice(0, 4));
    }
    for (const prefix of prefixes.values()) {
      const { start, end } = rangeOf({ prefix });
      const rows = this.state.range(start, end, 1e9, false);
      const count = rows.filter(({ key, value }) =>
        !isCountKey(key) && value instanceof Uint8Array && ((value[1] ?? 0) & 1) === 0
      ).length;
      this.most.mailbox = Math.max(this.most.mailbox, count);
      // Where processes share it, each may have as much under way as it saw room for.
      const bound = this.isShared || this.#isTroubled ? 2 * this.mailboxMessagesMax : this.mailboxMessagesMax;
      if (count > bound) {
        this.verdict.broke(
          `a mailbox holds ${count} messages, at most ${bound} are allowed`,
        );
      }
    }
  }

  /** A request was taken. */
  took({ id }: Connection): void {
    const count = (this.#unanswered.get(id) ?? 0) + 1;
    this.#unanswered.set(id, count);
    this.most.unanswered = Math.max(this.most.unanswered, count);
    if (count > QUEUES.unansweredCloseMax) {
      this.verdict.broke(`${count} requests of a connection are not answered`);
    }
  }

  /** A request was answered. */
  answered({ id }: Connection): void {
    const count = (this.#unanswered.get(id) ?? 0) - 1;
    this.#unanswered.set(id, count);
    if (count < 0) this.verdict.broke(`connection ${id} got more answers than it had requests`);
  }

  /** A frame goes out. */
  sent({ bufferedAmount, id }: Connection): void {
    this.most.bufferedBytes = Math.max(this.most.bufferedBytes, bufferedAmount);
    if (bufferedAmount > QUEUES.outboxBytesMax + ONE_FRAME_BYTES) {
      this.verdict.broke(`${bufferedAmount} bytes wait for the peer of connection ${id}`);
    }
  }

  /** A connection is over. */
  ended({ id }: Connection): void {
    this.#unanswered.delete(id);
  }

  /** How many requests of open connections have no answer. */
  get unanswered(): number {
    return [...this.#unanswered.values()].reduce((sum, count) => sum + count, 0);
  }
}

/**
 * What clients don't deal with, as it happens at the database: that each count rests on the end of a connection, and
 * that a message is moved behind its mailbox whole, and after as many counts as it takes.
 */
import { DELIVERY } from "../../lib/limits.ts";
import { readAttempts } from "../../lib/store/attempts.ts";
import type { Copies, Copy } from "./copies.ts";
import { orderOf } from "./kv_order.ts";
import type { Change } from "./kv_state.ts";
import type { Verdict } from "./verdict.ts";

/** Parts of the key of a message that was moved behind; in it, its id is backwards. */
const ASIDE_KEY_PARTS = 6;

/** Whether a key is that of a message that was moved. */
export const isAsideKey = (key: Deno.KvKey): boolean => key.length === ASIDE_KEY_PARTS;

/** Whether a key is that of the row that counts. */
export const isCountKey = (key: Deno.KvKey): boolean => {
  const last = key.at(-1);
  return key.length === ASIDE_KEY_PARTS - 1 && last instanceof Uint8Array && last.length === 0;
};

/** The key that a message has, or had, in its mailbox, whether or not it was moved. */
export function keyInMailbox(key: Deno.KvKey): Deno.KvKey {
  const last = key.at(-1);
  return isAsideKey(key) && last instanceof Uint8Array ? [...key.slice(0, 4), last.toReversed()] : key;
}

/** Watches over what is counted and moved. */
export class SetAsides {
  counted = 0;
  moved = 0;

  constructor(private readonly verdict: Verdict, private readonly copies: Copies) {}

  /** A commit was carried out that concerns a mailbox. */
  committed(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.type !== "set" || change.key[0] !== "inbox") continue;
      if (isCountKey(change.key)) this.#counted(change.key, change.value);
      else if (isAsideKey(change.key)) this.#moved(change.key, change.value, changes);
    }
  }

  #counted(key: Deno.KvKey, value: unknown): void {
    const count = value instanceof Uint8Array ? readAttempts({ key, value }) : null;
    if (count === null) return this.verdict.broke("a row that counts can't be read");
    this.counted++;
    const copy = this.copies.get([...key.slice(0, 4), count.id]);
    if (copy === undefined) return this.verdict.broke("a message is counted that was never stored");
    this.#requireEnds(copy, count.attempts);
  }

  #moved(key: Deno.KvKey, value: unknown, changes: readonly Change[]): void {
    this.moved++;
    const place = keyInMailbox(key);
    const name = orderOf(place);
    const copy = this.copies.get(place);
    const isTaken = changes.some((change) => change.type === "delete" && orderOf(change.key) === name);
    if (copy === undefined || !isTaken || copy.isAside || copy.deletedAt !== Infinity) {
      return this.verdict.broke("something else than a message of a mailbox was moved behind it");
    }
    if (!(value instanceof Uint8Array) || value.toHex() !== copy.value.toHex()) {
      this.verdict.broke(`message ${copy.token} for ${copy.device} was changed as it was moved`);
    }
    this.#requireEnds(copy, DELIVERY.attemptsMax);
    copy.isAside = true;
  }

  #requireEnds(copy: Copy, count: number): void {
    const { token, device, notDealtWith } = copy;
    // A connection that is being closed may not hear that its device was registered anew: it counts, and it is no matter.
    if (count <= notDealtWith || !this.copies.isCurrent(copy)) return;
    this.verdict.broke(
      `message ${token} for ${device} was counted ${count} times, and was not dealt with ${notDealtWith} times`,
    );
  }
}

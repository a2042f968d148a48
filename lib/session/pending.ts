/**
 * Messages that were handed over while the window was full: a few are kept in memory, in order.
 * @module
 */
import type { MailboxEntry } from "../service/mod.ts";

/** What is kept, in messages and bytes; beyond it storage is read. */
const PENDING = { messagesMax: 64, bytesMax: 128 * 1_024 } as const;

/** Messages of one connection that wait for room. */
export class Pending {
  #entries: MailboxEntry[] = [];
  #bytes = 0;

  get size(): number {
    return this.#entries.length;
  }

  /** Keeps a message, or returns `false` if it is one too many. */
  add(entry: MailboxEntry): boolean {
    const bytes = entry.ciphertext.length;
    if (this.#entries.length >= PENDING.messagesMax || this.#bytes + bytes > PENDING.bytesMax) return false;
    this.#entries.push(entry);
    this.#bytes += bytes;
    return true;
  }

  /** Hands out the oldest ones for as long as `takes` says so. */
  handOut(takes: (entry: MailboxEntry) => boolean): void {
    let taken = 0;
    for (const entry of this.#entries) {
      if (!takes(entry)) break;
      taken++;
    }
    if (taken > 0) this.#set(this.#entries.slice(taken));
  }

  /** Keeps what it is told to. */
  keepIf(isKept: (entry: MailboxEntry) => boolean): void {
    if (this.#entries.length > 0) this.#set(this.#entries.filter(isKept));
  }

  clear(): void {
    this.#set([]);
  }

  #set(entries: MailboxEntry[]): void {
    this.#entries = entries;
    this.#bytes = entries.reduce((sum, { ciphertext }) => sum + ciphertext.length, 0);
  }
}

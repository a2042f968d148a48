/**
 * Rows that grow: small things of one kind share a row, which is written once a batch, however many came for it.
 *
 * A row of its own for each would cost as much as the message that it stands for. What is in a row that is being
 * written is as durable as the rest of the batch; after a batch that failed its rows grow no further, since what they
 * gained with it must not become durable with a later one.
 * @module
 */
import { dropOldest } from "../bounded.ts";
import { GROWING } from "../limits.ts";

/** Something small that a batch adds to a row. */
export interface Addition {
  /** What shares a row: the same for all that may stand in one. */
  readonly group: string;
  readonly byteLength: number;
  /** Writes it, from `offset` on. */
  write(bytes: Uint8Array, offset: number): void;
  /** Makes the key of a new row. */
  newKey(): Deno.KvKey;
}

/** A row that grows. */
export class GrowingRow {
  #bytes = new Uint8Array(0);
  #added: Addition[] = [];
  #size = 0;
  #isClosed = false;

  constructor(readonly key: Deno.KvKey) {}

  /** Whether something of this size may still be added. */
  hasRoom(bytes: number): boolean {
    return !this.#isClosed && this.#size + bytes <= GROWING.rowBytesMax;
  }

  add(addition: Addition): void {
    this.#added.push(addition);
    this.#size += addition.byteLength;
  }

  /** The value with all that was added. */
  get value(): Uint8Array {
    if (this.#added.length > 0) {
      const bytes = new Uint8Array(this.#size);
      bytes.set(this.#bytes);
      let offset = this.#bytes.length;
      for (const added of this.#added) {
        added.write(bytes, offset);
        offset += added.byteLength;
      }
      this.#bytes = bytes;
      this.#added = [];
    }
    return this.#bytes;
  }

  /** Nothing is added to it any more. */
  close(): void {
    this.#isClosed = true;
  }
}

/** The rows of one lane that still grow. */
export class GrowingRows {
  readonly #open = new Map<string, GrowingRow>();

  /** Adds something to the row of its group, or to a new one. */
  add(addition: Addition): GrowingRow {
    const { group, byteLength } = addition;
    let row = this.#open.get(group);
    if (row === undefined || !row.hasRoom(byteLength)) {
      row = new GrowingRow(addition.newKey());
      this.#open.delete(group);
      this.#open.set(group, row);
      dropOldest(this.#open, GROWING.rowsMax);
    }
    row.add(addition);
    return row;
  }
}

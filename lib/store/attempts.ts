/**
 * The row at the head of a mailbox that counts how often the oldest message stayed there though its client dealt with
 * others. There is one a mailbox, since only the oldest message is counted.
 * @module
 */
import * as v from "valibot";
import type { Entry } from "./database.ts";
import { bytesField, decodeRecord, encodeRecord } from "./records.ts";

/** A message, and on how many connections its client did not deal with it. */
export interface Attempts {
  readonly id: Uint8Array;
  readonly attempts: number;
}

const fields = v.object({ id: bytesField, attempts: v.pipe(v.number(), v.integer(), v.minValue(0)) });

/** Makes the value. */
export function encodeAttempts({ id, attempts }: Attempts): Uint8Array {
  return encodeRecord({ id, attempts });
}

/** Reads the row; `null` if it is another one, or damaged: then counting begins anew. */
export function readAttempts({ key, value }: Pick<Entry, "key" | "value">): Attempts | null {
  const last = key.at(-1);
  if (!(last instanceof Uint8Array) || last.length > 0) return null;
  try {
    return decodeRecord(fields, key, value);
  } catch {
    return null;
  }
}

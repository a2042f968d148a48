/**
 * Values of the database: a format byte, then MessagePack.
 *
 * Bytes rather than structured values, since those of one Deno version can't always be read by another.
 * @module
 */
import { decode, encode } from "@msgpack/msgpack";
import * as v from "valibot";

/** The only format so far. */
const FORMAT = 1;

/** A value of the database can't be read: it is damaged, or was written by a newer server. */
export class RecordError extends Error {
  override readonly name = "RecordError";
}

/** Makes a value. */
export function encodeRecord(fields: Readonly<Record<string, unknown>>): Uint8Array {
  const body = encode(fields, { ignoreUndefined: true });
  const value = new Uint8Array(1 + body.length);
  value[0] = FORMAT;
  value.set(body, 1);
  return value;
}

/**
 * Reads a value.
 *
 * @throws {RecordError} if it is not one of that schema, naming the key's kind only.
 */
export function decodeRecord<const S extends v.GenericSchema>(
  schema: S,
  key: Deno.KvKey,
  value: unknown,
): v.InferOutput<S> {
  const kind = String(key[0]);
  if (!(value instanceof Uint8Array) || value[0] !== FORMAT) {
    throw new RecordError(`a "${kind}" value has a format that this server does not know`);
  }
  let fields: unknown;
  try {
    fields = decode(value.subarray(1));
  } catch {
    throw new RecordError(`a "${kind}" value is damaged`);
  }
  const result = v.safeParse(schema, fields);
  if (result.success) return result.output;
  // Only what was expected: what was found may be a secret.
  throw new RecordError(
    `a "${kind}" value can't be read: expected ${result.issues[0].expected ?? "something else"}`,
  );
}

/** A field that holds bytes. */
export const bytesField = v.custom<Uint8Array>((value) => value instanceof Uint8Array, "bytes expected");

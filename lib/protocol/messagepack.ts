/**
 * MessagePack payloads: checked for shape before they are decoded, then for their fields.
 *
 * A header can claim four billion elements in five bytes, and a decoder that believes it allocates them. So the bytes
 * are walked first, at no cost in memory: depth, number of values, and every length against what is really there.
 * @module
 */
import { decode, encode } from "@msgpack/msgpack";
import * as v from "valibot";
import { UINT32_MAX } from "../address.ts";
import { RequestError } from "../errors.ts";

/** How deep values may nest; the messages of the protocol need three. */
const DEPTH_MAX = 6;

/** How many values a payload may hold, names included. */
const VALUES_MAX = 4_096;

/** What the byte that starts a value says of what follows it. */
interface Header {
  /** Bytes after the first one that tell a length or a count. */
  readonly lengthBytes: number;
  /** Bytes of content, beside what `lengthBytes` tells. */
  readonly fixedBytes: number;
  /** Values inside: per unit of the count, 0 if the count is of bytes. */
  readonly valuesPerCount: 0 | 1 | 2;
  /** The count, where the first byte itself tells it. */
  readonly count: number;
}

/** Reads the first byte of a value: the table of the MessagePack format. */
function header(byte: number): Header | null {
  const scalar = (fixedBytes: number): Header => ({
    lengthBytes: 0,
    fixedBytes,
    valuesPerCount: 0,
    count: 0,
  });
  const counted = (lengthBytes: number, valuesPerCount: 0 | 1 | 2, fixedBytes = 0, count = 0): Header => ({
    lengthBytes,
    fixedBytes,
    valuesPerCount,
    count,
  });
  if (byte <= 0x7f || byte >= 0xe0) return scalar(0); // small integers
  if (byte <= 0x8f) return counted(0, 2, 0, byte & 0x0f); // map
  if (byte <= 0x9f) return counted(0, 1, 0, byte & 0x0f); // array
  if (byte <= 0xbf) return counted(0, 0, 0, byte & 0x1f); // string
  switch (byte) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return scalar(0);
    case 0xc4: // bin
    case 0xd9: // str
      return counted(1, 0);
    case 0xc5:
    case 0xda:
      return counted(2, 0);
    case 0xc6:
    case 0xdb:
      return counted(4, 0);
    case 0xc7: // ext: one more byte for its type
      return counted(1, 0, 1);
    case 0xc8:
      return counted(2, 0, 1);
    case 0xc9:
      return counted(4, 0, 1);
    case 0xcc: // integers
    case 0xd0:
      return scalar(1);
    case 0xcd:
    case 0xd1:
      return scalar(2);
    case 0xca: // float
    case 0xce:
    case 0xd2:
      return scalar(4);
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return scalar(8);
    case 0xd4: // fixext: type and content
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      return scalar(1 + 2 ** (byte - 0xd4));
    case 0xdc: // array
      return counted(2, 1);
    case 0xdd:
      return counted(4, 1);
    case 0xde: // map
      return counted(2, 2);
    case 0xdf:
      return counted(4, 2);
    default: // 0xc1 is never used
      return null;
  }
}

/**
 * Walks one MessagePack value without decoding it.
 *
 * @throws {RequestError} `unmarshal` if the bytes are not exactly one value that is whole and nested at most six
 * deep; `too_large` if it holds more than 4,096 values.
 */
export function checkShape(bytes: Uint8Array): void {
  const malformed = (what: string) => new RequestError("unmarshal", `payload is not MessagePack: ${what}`);
  const open: number[] = []; // values still to come, for each container that is open
  let offset = 0;
  let values = 0;
  let pending = 1;
  while (pending > 0) {
    const first = bytes[offset++];
    if (first === undefined) throw malformed("it ends too early");
    const head = header(first);
    if (head === null) throw malformed(`byte 0x${first.toString(16)} starts no value`);
    if (++values > VALUES_MAX) {
      throw new RequestError("too_large", `payload holds more than ${VALUES_MAX} values`);
    }
    let count = head.count;
    for (let i = 0; i < head.lengthBytes; i++) count = count * 256 + (bytes[offset++] ?? 0);
    offset += head.fixedBytes + (head.valuesPerCount === 0 ? count : 0);
    if (offset > bytes.length) throw malformed("it ends too early");
    pending--;
    const inside = count * head.valuesPerCount;
    if (inside > 0) {
      if (inside > bytes.length - offset) throw malformed("it claims more values than it has bytes");
      if (open.length >= DEPTH_MAX) throw malformed(`it nests deeper than ${DEPTH_MAX}`);
      open.push(pending);
      pending = inside;
    }
    while (pending === 0 && open.length > 0) pending = open.pop() ?? 0;
  }
  if (offset !== bytes.length) throw malformed(`${bytes.length - offset} bytes follow it`);
}

/** An unsigned 32-bit integer, however wide it was written. */
export const uint32 = v.pipe(
  v.number("must be an integer"),
  v.integer("must be an integer"),
  v.minValue(0, "must not be negative"),
  v.maxValue(UINT32_MAX, "must fit 32 bits"),
  v.transform((value) => value + 0), // the float -0 would be another key than 0 in the database
);

const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array;

/** Bytes of which there must be some: absent, nil and empty are the same, and refused. */
export const requiredBytes = v.custom<Uint8Array>(
  (value) => isBytes(value) && value.length > 0,
  (issue) => isBytes(issue.input) || issue.input === null ? "is missing or empty" : "must be binary",
);

/** Bytes, or nothing: absent, nil and empty are the same. */
export const optionalBytes = v.pipe(
  v.optional(v.nullable(v.custom<Uint8Array>(isBytes, "must be binary")), null),
  v.transform((value) => value !== null && value.length > 0 ? value : null),
);

/** An array of byte strings, none of them empty; absent and nil are the same as an empty array. */
export const bytesArray = v.pipe(
  v.optional(v.nullable(v.array(requiredBytes, "must be an array")), null),
  v.transform((value) => value ?? []),
);

/** An array of uint32; absent and nil are the same as an empty array. */
export const uint32Array = v.pipe(
  v.optional(v.nullable(v.array(uint32, "must be an array")), null),
  v.transform((value) => value ?? []),
);

/** An unsigned integer that a double holds exactly: times in milliseconds, counts. */
export const uint53 = v.pipe(
  v.number("must be an integer"),
  v.safeInteger("must be an integer of at most 53 bits"),
  v.minValue(0, "must not be negative"),
  v.transform((value) => value + 0), // no float -0
);

/** The same, or nothing: absent and nil are the same. */
export const optionalUint53 = v.optional(v.nullable(uint53), null);

/** A uint32, or nothing: absent and nil are the same. */
export const optionalUint32 = v.optional(v.nullable(uint32), null);

/** A boolean; absent and nil are the same as false. */
export const optionalBoolean = v.pipe(
  v.optional(v.nullable(v.boolean("must be a boolean")), null),
  v.transform((value) => value ?? false),
);

/** A string, or nothing: absent and nil are the same. */
export const optionalText = v.optional(v.nullable(v.string("must be a string")), null);

/** A string that must be there. */
export const text = v.string("must be a string");

/**
 * Text as it is written and read again: well-formed, and without byte order marks ahead, which the decoder drops from
 * long strings only.
 */
export function cleanText(value: string): string {
  return value.toWellFormed().replace(/^\ufeff+/, "");
}

/** Whether a payload is a map, by its first byte. */
function isMap([first = 0]: Uint8Array): boolean {
  return (first >= 0x80 && first <= 0x8f) || first === 0xde || first === 0xdf;
}

/**
 * Decodes a payload that is a map with the given fields; unknown ones are ignored.
 *
 * @throws {RequestError} `unmarshal`, naming the field that is wrong, or `too_large` (see `checkShape`).
 */
export function decodeFields<const S extends v.GenericSchema>(
  schema: S,
  payload: Uint8Array,
): v.InferOutput<S> {
  checkShape(payload);
  // An array or bytes would do for a schema without a required field.
  if (!isMap(payload)) throw new RequestError("unmarshal", "payload is not a map");
  let value: unknown;
  try {
    value = decode(payload, { useBigInt64: false });
  } catch (error) {
    // The shape is right, so this is a key that the decoder refuses, or the like: the text is about the payload only.
    throw new RequestError(
      "unmarshal",
      `payload is not MessagePack: ${error instanceof Error ? error.message : ""}`,
    );
  }
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = (issue.path ?? []).map((item) =>
    typeof item.key === "number" ? `[${item.key}]` : `${item.key}`
  );
  const missing = issue.received === "undefined" ? "is missing" : issue.message;
  throw new RequestError("unmarshal", `${path.join("")} ${missing}`);
}

/** Encodes a payload that is a map, each integer as narrow as it goes. */
export function encodeFields(fields: Readonly<Record<string, unknown>>): Uint8Array {
  return encode(fields, { ignoreUndefined: true });
}

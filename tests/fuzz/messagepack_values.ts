/** MessagePack as nobody's encoder writes it: right in unusual forms, wrong in type, too deep, or lying about lengths. */
import { encode } from "@msgpack/msgpack";
import type { Random } from "../process/random.ts";
import { concat } from "../support/websocket_frames.ts";
import { extreme, EXTREMES } from "./mutation.ts";

/** Names of fields of either version, and names that must do nothing. */
const NAMES = [
  "RegistrationID",
  "IdentityKey",
  "SignedPreKey",
  "PreKeys",
  "Replace",
  "UserID",
  "KnownDeviceIDs",
  "ClaimID",
  "DeviceID",
  "Code",
  "Description",
  "Missing",
  "PreKey",
  "More",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "",
] as const;

/** First bytes of values whose length or count follows. */
const COUNTED = [0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf] as const;

function bigEndian(value: number, bytes: 1 | 2 | 4 | 8): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(8);
  new DataView(result.buffer).setBigUint64(0, BigInt(value));
  return result.subarray(8 - bytes);
}

/** A header with a count, in any of its forms that hold it. @param forms first bytes for 1, 2 and 4 bytes of count. */
function counted(random: Random, count: number, forms: readonly [number | null, number, number]) {
  const wide = forms.flatMap((first, i) => {
    const bytes = ([1, 2, 4] as const)[i] ?? 4;
    return first === null || count >= 2 ** (8 * bytes) ? [] : [[first, bytes] as const];
  });
  const [first, bytes] = random.pick(wide);
  return concat([Uint8Array.of(first), bigEndian(count, bytes)]);
}

function encodeInteger(random: Random, value: number): Uint8Array {
  const forms =
    ([[0xcc, 1], [0xcd, 2], [0xce, 4], [0xcf, 8], [0xd0, 1], [0xd1, 2], [0xd2, 4], [0xd3, 8]] as const)
      .filter(([first, bytes]) => value < 2 ** (first >= 0xd0 ? 8 * bytes - 1 : 8 * bytes));
  const [first, bytes] = random.pick(forms);
  return value <= 0x7f && random.chance(0.3)
    ? Uint8Array.of(value)
    : concat([Uint8Array.of(first), bigEndian(value, bytes)]);
}

/** Encodes a value in forms that mean the same: any width, fields in any order, and fields that nobody knows. */
export function encodeLoosely(random: Random, value: unknown, depth = 0): Uint8Array<ArrayBuffer> {
  if (Number.isSafeInteger(value) && Number(value) >= 0) {
    return concat([encodeInteger(random, Number(value))]);
  }
  if (typeof value === "string") {
    const bytes = new TextEncoder().encode(value);
    const head = bytes.length < 32 && random.chance(0.3)
      ? Uint8Array.of(0xa0 | bytes.length)
      : counted(random, bytes.length, [0xd9, 0xda, 0xdb]);
    return concat([head, bytes]);
  }
  if (value instanceof Uint8Array) {
    return concat([counted(random, value.length, [0xc4, 0xc5, 0xc6]), value]);
  }
  if (Array.isArray(value)) {
    const head = value.length < 16 && random.chance(0.3)
      ? Uint8Array.of(0x90 | value.length)
      : counted(random, value.length, [null, 0xdc, 0xdd]);
    return concat([head, ...value.map((item) => encodeLoosely(random, item, depth + 1))]);
  }
  if (typeof value !== "object" || value === null) return concat([encode(value)]);
  const entries = Object.entries(value).map(([name, field]) => [
    encodeLoosely(random, name),
    encodeLoosely(random, field, depth + 1),
  ]);
  // Not so deep that it is too deep with them.
  while (depth < 4 && random.chance(0.3)) {
    const strange = random.pick([null, true, [1, 2], { a: [] }, "text", random.bytes(3), EXTREMES.at(-1)]);
    // A name that the map has not yet: what a name means that comes twice is not defined.
    const name = random.chance(0.8) ? `X${entries.length}` : -1 - entries.length;
    entries.push([encode(name), encodeLoosely(random, strange)]);
  }
  const shuffled = entries.map((entry) => [random.next(), entry] as const).sort(([a], [b]) => a - b);
  return concat([
    entries.length < 16 && random.chance(0.3)
      ? Uint8Array.of(0x80 | entries.length)
      : counted(random, entries.length, [null, 0xde, 0xdf]),
    ...shuffled.flatMap(([, entry]) => entry),
  ]);
}

/** Any value; on top mostly a map with names that mean something. */
export function anyValue(random: Random, userIds: readonly string[], depth = 0): Uint8Array<ArrayBuffer> {
  const count = depth > 7 ? 0 : random.integer(6);
  const inside = () => anyValue(random, userIds, depth + 1);
  if (depth === 0 ? random.chance(0.9) : random.chance(0.15)) {
    const entries = Array.from({ length: count }, () => [
      random.chance(0.95) ? encode(random.pick(NAMES)) : inside(),
      inside(),
    ]);
    return concat([Uint8Array.of(0x80 | count), ...entries.flat()]);
  }
  if (random.chance(0.25)) {
    return concat([Uint8Array.of(0x90 | count), ...Array.from({ length: count }, inside)]);
  }
  const n = random.pick(EXTREMES);
  const strange = [
    Uint8Array.of(0xd6, 0xff, ...random.bytes(4)), // a timestamp
    Uint8Array.of(0xc7, random.integer(4), 0xff, ...random.bytes(3)), // one of a wrong length
    Uint8Array.of(0xd4, random.integer(256), 0), // any extension
    Uint8Array.of(0xcf, ...random.bytes(8)), // up to 2^64
    Uint8Array.of(0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0), // the float -0
    Uint8Array.of(0xca, 0x7f, 0xc0, 0, 0), // NaN
    Uint8Array.of(0xa3, 0xed, 0xa0, 0x80), // half of a surrogate pair
    Uint8Array.of(0xc1),
  ];
  if (random.chance(0.25)) return random.pick(strange);
  const plain = [
    n,
    -n,
    n / 3,
    null,
    true,
    "text",
    random.pick(userIds),
    random.bytes(9),
    random.bytes(16),
    "",
  ];
  return concat([encode(random.pick(plain))]);
}

/** A map with a value whose header claims more, or less, than there is; or with arrays in arrays. */
export function lie(random: Random): Uint8Array<ArrayBuffer> {
  const header = concat([Uint8Array.of(random.pick(COUNTED)), extreme(random)]);
  const nested = random.chance(0.2)
    ? new Uint8Array(random.integer(300)).fill(random.pick([0x91, 0x81]))
    : new Uint8Array();
  const rest = random.bytes(random.integer(30));
  return concat([Uint8Array.of(0x82), encode(random.pick(NAMES)), nested, header, rest, encode(1)]);
}

/** Other values in the place of those that there are, mostly of the same type. */
export function vary(random: Random, value: unknown, userIds: readonly string[]): unknown {
  if (random.chance(0.03)) return random.pick([null, true, "x", 1.5, [], {}, new Uint8Array()]);
  if (typeof value === "number") {
    return random.pick([value, value, random.integer(300), random.pick(EXTREMES)]);
  }
  if (typeof value === "string") {
    return random.pick([value, value, value.toUpperCase(), random.pick(userIds)]);
  }
  if (value instanceof Uint8Array) return random.pick([value, random.bytes(random.pick([1, 16, 33, 300]))]);
  if (Array.isArray(value)) {
    const items = value.map((item) => vary(random, item, userIds));
    return random.chance(0.5) ? items : Array.from({ length: random.integer(4) }, () => items).flat();
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).filter(() => !random.chance(0.05)).map((
      [name, field],
    ) => [name, vary(random, field, userIds)]),
  );
}

/** Arrays in arrays. */
export function nest(levels: number): unknown {
  return levels === 0 ? null : [nest(levels - 1)];
}

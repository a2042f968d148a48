/**
 * Tests of what stands between a client's bytes and the MessagePack decoder: shape, bounds, fields and cost.
 * @module
 */
import assert from "node:assert/strict";
import { decode, encode, ExtensionCodec } from "@msgpack/msgpack";
import fc from "../support/fast_check.ts";
import * as v from "valibot";
import { type ErrorName, RequestError } from "../../lib/errors.ts";
import {
  bytesArray,
  checkShape,
  decodeFields,
  encodeFields,
  optionalBytes,
  requiredBytes,
  text,
  uint32,
  uint32Array,
} from "../../lib/protocol/messagepack.ts";

const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(" ", ""));

/** Says whether an error is the one that a client is told, with a description that a log can hold. */
function refusal(error: ErrorName, description: RegExp) {
  return (thrown: unknown) =>
    thrown instanceof RequestError && thrown.error === error && thrown.description.length < 200 &&
    description.test(thrown.description);
}

/** The refusal of `bytes`, or null if they have the right shape. Anything but a RequestError fails the test. */
function shapeRefusal(bytes: Uint8Array): RequestError | null {
  try {
    checkShape(bytes);
    return null;
  } catch (thrown) {
    if (thrown instanceof RequestError) return thrown;
    throw thrown;
  }
}

// The decoder, allowing whatever the format allows, but no container of more than 4,096.
const extensionCodec = new ExtensionCodec();
extensionCodec.register({ type: -1, encode: () => null, decode: (data) => data });
const bounded = { extensionCodec, mapKeyConverter: () => "key", maxArrayLength: 4_096, maxMapLength: 2_048 };

/** What the decoder says of `bytes`; null if it decodes them. */
function decoderRefusal(bytes: Uint8Array): string | null {
  try {
    decode(bytes, bounded);
    return null;
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : `${thrown}`;
    return message === "The key __proto__ is not allowed" ? null : message;
  }
}

/** Fails unless `checkShape` and the decoder agree on `bytes`, apart from what only `checkShape` bounds. */
function assertAgreement(bytes: Uint8Array): void {
  const refused = shapeRefusal(bytes);
  if (refused !== null && /nests deeper|more than 4096 values/.test(refused.description)) return;
  const byDecoder = decoderRefusal(bytes);
  assert.equal(refused === null, byDecoder === null, `${bytes.toHex()}: ${refused?.message} / ${byDecoder}`);
}

type Value = null | boolean | number | string | Uint8Array | Value[] | { [name: string]: Value };

const scalar = fc.oneof(
  fc.constantFrom<Value>(null, true, false),
  fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger()),
  fc.string({ maxLength: 40 }),
  fc.uint8Array({ maxLength: 40 }),
);
const name = fc.string({ maxLength: 4 }).filter((name) => name !== "__proto__");
const { value } = fc.letrec<{ value: Value; array: Value[]; map: { [name: string]: Value } }>((tie) => ({
  array: fc.array(tie("value"), { maxLength: 4 }),
  map: fc.dictionary(name, tie("value"), { maxKeys: 3, noNullPrototype: true }),
  value: fc.oneof(
    { maxDepth: 8, depthIdentifier: "value" },
    { weight: 2, arbitrary: scalar },
    { weight: 3, arbitrary: tie("array") },
    { weight: 2, arbitrary: tie("map") },
  ),
}));

/** How many values `value` holds, and how many non-empty containers are inside one another at most. */
function measure(value: Value): { values: number; depth: number } {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) {
    return { values: 1, depth: 0 };
  }
  const names = Array.isArray(value) ? 0 : Object.keys(value).length;
  const inside = Object.values(value).map(measure);
  return {
    values: inside.reduce((sum, { values }) => sum + values, 1 + names),
    depth: inside.length === 0 ? 0 : 1 + Math.max(...inside.map(({ depth }) => depth)),
  };
}

/** Bytes changed in a few places: overwritten, cut, or followed by more. */
const mutated = fc.tuple(
  value.map((value) => encode(value)),
  fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 }),
  fc.oneof(fc.constant(0), fc.integer({ min: -10, max: 3 })),
).map(([encoded, changes, lengthen]) => {
  const bytes = new Uint8Array(Math.max(0, encoded.length + lengthen));
  bytes.set(encoded.subarray(0, bytes.length));
  for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
  return bytes;
});

Deno.test("checkShape() takes every kind of value, at its exact length and no other", () => {
  const count = 2 ** 16 - 1;
  const kinds = [
    ..."00 7f e0 ff c0 c2 c3 80 90 a0 cc00 cd0000 ca00000000 ce00000000 d000 d10000 d200000000".split(" "),
    ...["cb", "cf", "d3"].map((head) => head + "00".repeat(8)),
    ..."c400 c50000 c600000000 d900 da0000 db00000000 dc0000 dd00000000 de0000 df00000000".split(" "),
    ...["8100c0", "91c0", "a161", "c401ff", "c50001ff", "c600000001ff", "d90161", "da000161", "db0000000161"],
    ...["dc0001c0", "dd00000001c0", "de000100c0", "df0000000100c0", "8f" + "01c0".repeat(15)],
    ...["9f" + "c0".repeat(15), "bf" + "61".repeat(31), "c4ff" + "00".repeat(255)],
    ...["c5ffff" + "00".repeat(count), "daffff" + "61".repeat(count), "c8ffff05" + "00".repeat(count)],
    ...["c70005", "c7010500", "c8000005", "c800010500", "c90000000005", "c9000000010500"],
    ...["d40500", "d5050000", "d605" + "00".repeat(4), "d705" + "00".repeat(8), "d805" + "00".repeat(16)],
  ];
  for (const kind of kinds) {
    const bytes = hex(kind);
    checkShape(bytes);
    const name = kind.slice(0, 20);
    assert.throws(
      () => checkShape(bytes.subarray(0, -1)),
      refusal("unmarshal", /ends too early|more values/),
      name,
    );
    assert.throws(() => checkShape(hex(kind + "00")), refusal("unmarshal", /1 bytes follow/), name);
  }
});

Deno.test("checkShape() throws on the byte that is never used", () => {
  assert.throws(() => checkShape(hex("c1")), refusal("unmarshal", /0xc1/));
  assert.throws(() => checkShape(hex("92 c0 c1")), refusal("unmarshal", /0xc1/));
});

Deno.test("checkShape() bounds the depth and the number of values, exactly", () => {
  checkShape(hex("91".repeat(6) + "c0"));
  checkShape(hex("91".repeat(6) + "90"));
  checkShape(hex("92" + "9191919191c0".repeat(2)));
  assert.throws(() => checkShape(hex("91".repeat(7) + "c0")), refusal("unmarshal", /nests deeper than 6/));
  assert.throws(() => checkShape(hex("8100".repeat(7) + "c0")), refusal("unmarshal", /nests deeper than 6/));
  checkShape(hex("dc0fff" + "c0".repeat(4_095)));
  assert.throws(() => checkShape(hex("dc1000" + "c0".repeat(4_096))), refusal("too_large", /4096/));
  assert.throws(
    () => checkShape(hex("dc1001" + "c0".repeat(4_096))),
    refusal("unmarshal", /more values than/),
  );
  checkShape(hex("de07ff" + "00c0".repeat(2_047)));
  assert.throws(() => checkShape(hex("de0800" + "00c0".repeat(2_048))), refusal("too_large", /4096/));
});

Deno.test("checkShape() takes a value exactly if it is within the bounds", () => {
  fc.assert(
    fc.property(value, (value) => {
      const { values, depth } = measure(value);
      const bytes = encode(value);
      assert.equal(shapeRefusal(bytes) === null, values <= 4_096 && depth <= 6, bytes.toHex());
      assertAgreement(bytes);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("checkShape() agrees with the decoder on changed values", () => {
  fc.assert(fc.property(mutated, assertAgreement), { numRuns: 3_000 });
});

Deno.test("checkShape() agrees with the decoder on any bytes", () => {
  const header = fc.oneof(fc.integer({ min: 0x80, max: 0xdf }), fc.integer({ min: 0, max: 4 }));
  const headers = fc.array(header, { maxLength: 24 }).map((bytes) => Uint8Array.from(bytes));
  const anyBytes = fc.oneof(headers, fc.uint8Array({ maxLength: 64 }));
  fc.assert(fc.property(anyBytes, assertAgreement), { numRuns: 5_000 });
});

const everyField = v.object({
  N: uint32,
  B: requiredBytes,
  O: optionalBytes,
  L: bytesArray,
  I: uint32Array,
  T: text,
});
const everyValue = { N: 1, B: hex("01"), O: hex("02"), L: [hex("03")], I: [4], T: "t" };

Deno.test("decodeFields() reads what encodeFields() wrote", () => {
  assert.deepEqual(decodeFields(everyField, encodeFields(everyValue)), everyValue);
});

Deno.test("decodeFields() takes absent, nil and empty as the same", () => {
  const expected = { ...everyValue, O: null, L: [], I: [] };
  for (const nothing of [{}, { O: null, L: null, I: null }, { O: hex(""), L: [], I: [] }]) {
    const { N, B, T } = everyValue;
    assert.deepEqual(decodeFields(everyField, encodeFields({ N, B, T, ...nothing })), expected);
  }
});

Deno.test("decodeFields() names the field that is wrong", () => {
  const wrong: readonly [Record<string, unknown>, RegExp][] = [
    [{ N: undefined }, /^N is missing$/],
    [{ N: null }, /^N must be an integer$/],
    [{ N: -1 }, /^N must not be negative$/],
    [{ N: 2 ** 32 }, /^N must fit 32 bits$/],
    [{ N: 0.5 }, /^N must be an integer$/],
    [{ B: undefined }, /^B is missing$/],
    [{ B: null }, /^B is missing or empty$/],
    [{ B: hex("") }, /^B is missing or empty$/],
    [{ B: "01" }, /^B must be binary$/],
    [{ O: "02" }, /^O must be binary$/],
    [{ L: 3 }, /^L must be an array$/],
    [{ L: [hex("03"), hex("")] }, /^L\[1\] is missing or empty$/],
    [{ I: [4, -4] }, /^I\[1\] must not be negative$/],
    [{ T: undefined }, /^T is missing$/],
    [{ T: hex("74") }, /^T must be a string$/],
  ];
  for (const [change, description] of wrong) {
    const payload = encodeFields({ ...everyValue, ...change });
    assert.throws(() => decodeFields(everyField, payload), refusal("unmarshal", description));
  }
});

Deno.test("decodeFields() throws on what is no map, and on what the decoder refuses", () => {
  for (const payload of ["", "c0", "05", "a161", "c0c0"]) {
    assert.throws(
      () => decodeFields(everyField, hex(payload)),
      refusal("unmarshal", /^payload is not/),
      payload,
    );
  }
  // A name that is an array, or __proto__; a timestamp of one byte.
  for (const payload of ["819000", "81a95f5f70726f746f5f5f80", "8100d4ff00"]) {
    assert.throws(
      () => decodeFields(everyField, hex(payload)),
      refusal("unmarshal", /not MessagePack/),
      payload,
    );
  }
});

Deno.test("uint32 is an integer, also where the float 1 or -0 stood", () => {
  const only = v.object({ N: uint32 });
  assert.ok(Object.is(decodeFields(only, hex("81 a14e cb 8000000000000000")).N, 0));
  assert.ok(Object.is(decodeFields(only, hex("81 a14e ca 3f800000")).N, 1));
});

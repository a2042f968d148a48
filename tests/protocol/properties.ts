/**
 * The properties of one direction of a codec: reading is total, and reading and writing are inverse.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { RequestError } from "../../lib/errors.ts";
import { decodeEnvelope, type Version } from "../../lib/protocol/mod.ts";

/** Objects as the codec makes them. */
export function record<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) {
  return fc.record(fields, { noNullPrototype: true });
}

export const userId = fc.uuid({ version: 4 });
export const uint32 = fc.oneof(
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(0, 127, 128, 0xffff_ffff),
);
export const address = record({ userId, deviceId: uint32 });
export const key = fc.uint8Array({ minLength: 1, maxLength: 300 });
export const ciphertext = fc.uint8Array({ maxLength: 300 });

/** One direction of a codec, as the properties see it. */
export interface Direction<M> {
  readonly version: Version;
  readonly message: fc.Arbitrary<M>;
  readonly encode: (message: M) => Uint8Array;
  readonly decode: (type: number, payload: Uint8Array) => M;
}

/** Payloads that are valid, valid but for a few bytes, or anything; with their type, or any other. */
function payloads<M>({ version, message, encode }: Direction<M>) {
  const changed = fc.tuple(
    message.map((message) => decodeEnvelope(encode(message), 0, version)),
    fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }),
    fc.oneof(fc.constant(0), fc.integer({ min: -5, max: 5 })),
  ).map(([{ type, payload }, changes, lengthen]) => {
    const bytes = new Uint8Array(Math.max(0, payload.length + lengthen));
    bytes.set(payload.subarray(0, bytes.length));
    for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
    return { type, payload: bytes };
  });
  const anything = record({ type: fc.nat(255), payload: fc.uint8Array({ maxLength: 120 }) });
  return fc.oneof({ weight: 3, arbitrary: changed }, { weight: 1, arbitrary: anything });
}

/** Fails unless what a direction says of any payload is in its contract, and what it reads is a fixed point. */
export function assertTotal<M>(direction: Direction<M>): void {
  const { version, encode, decode } = direction;
  const property = fc.property(payloads(direction), ({ type, payload }) => {
    let message: M;
    try {
      message = decode(type, payload);
    } catch (thrown) {
      assert.ok(thrown instanceof RequestError, `${thrown}`);
      assert.ok(["unknown_type", "unmarshal", "invalid_user_id", "too_large"].includes(thrown.error));
      return;
    }
    const canonical = encode(message);
    const envelope = decodeEnvelope(canonical, 0, version);
    assert.equal(envelope.type, type);
    const again = decode(envelope.type, envelope.payload);
    assert.deepEqual(again, message);
    assert.deepEqual(encode(again), canonical);
  });
  fc.assert(property, { numRuns: 3_000 });
}

/** Fails unless a direction reads what it wrote. */
export function assertRoundTrip<M>({ version, message, encode, decode }: Direction<M>): void {
  fc.assert(fc.property(message, (message) => {
    const { type, payload } = decodeEnvelope(encode(message), 0, version);
    assert.deepEqual(decode(type, payload), message);
  }));
}

/** Fails unless bytes of 1 MiB are refused in less than 50 ms, without the memory that they claim. */
export function assertRefusedCheaply(name: string, decode: () => unknown): void {
  let fastestMs = Infinity;
  let grownBytes = 0;
  for (let run = 0; run < 5; run++) {
    const before = Deno.memoryUsage();
    const start = performance.now();
    assert.throws(decode, RequestError, name);
    fastestMs = Math.min(fastestMs, performance.now() - start);
    const after = Deno.memoryUsage();
    grownBytes = Math.max(grownBytes, after.heapUsed + after.external - before.heapUsed - before.external);
  }
  assert.ok(fastestMs < 50, `${name}: ${fastestMs} ms`);
  assert.ok(grownBytes < 4 * 1024 * 1024, `${name}: ${grownBytes} bytes`);
}

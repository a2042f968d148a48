/**
 * Tests of the envelope: where it is cut, whose sequence is whose, and that reading and writing are inverse.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { ProtocolViolation } from "../../lib/errors.ts";
import {
  allocateEnvelope,
  CLIENT_SEQUENCE_MAX,
  decodeEnvelope,
  encodeEnvelope,
  type Envelope,
  HEADER_BYTES,
  nextClientSequence,
  nextServerSequence,
  SERVER_SEQUENCE_MIN,
  type Version,
} from "../../lib/protocol/mod.ts";

const version = fc.constantFrom<Version>(1, 2);
const sequence = fc.oneof(
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff),
);
const type = fc.integer({ min: 0, max: 255 });
const payload = fc.uint8Array({ maxLength: 300 });

/** Bytes that often are an envelope, or nearly one. */
const nearlyEnvelopes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.tuple(version, sequence, type, fc.integer({ min: 0, max: 40 }), fc.uint8Array({ maxLength: 40 })).map(
    ([version, sequence, type, length, tail]) => {
      const header = allocateEnvelope(version, sequence, type, 0);
      new DataView(header.buffer).setUint32(6, length);
      return concat([header, tail]);
    },
  ),
);

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Whether the connection is to be closed with 1002, for a reason that fits into a close frame. */
function isBrokenEnvelope(thrown: unknown): boolean {
  return thrown instanceof ProtocolViolation && thrown.closeCode === 1002 &&
    new TextEncoder().encode(thrown.reason).length <= 123;
}

Deno.test("decodeEnvelope() reads every field big-endian", () => {
  const bytes = Uint8Array.fromHex("01" + "81020304" + "08" + "00000002" + "aabb");
  assert.deepEqual(decodeEnvelope(bytes, 0, 1), {
    version: 1,
    sequence: 0x81020304,
    type: 8,
    payload: Uint8Array.of(0xaa, 0xbb),
  });
});

Deno.test("decodeEnvelope() reads at an offset inside a larger buffer", () => {
  const bytes = Uint8Array.fromHex("ffffff" + "01000000010100000000" + "02000000070300000001cc" + "ffff")
    .subarray(3, 24);
  assert.equal(decodeEnvelope(bytes, 0, 1).type, 1);
  const second = decodeEnvelope(bytes, HEADER_BYTES, 2);
  assert.deepEqual(second, { version: 2, sequence: 7, type: 3, payload: Uint8Array.of(0xcc) });
});

Deno.test("decodeEnvelope() does not read past the end of its view", () => {
  const buffer = Uint8Array.fromHex("01000000010100000002aabb");
  for (let length = 0; length < buffer.length; length++) {
    assert.throws(
      () => decodeEnvelope(buffer.subarray(0, length), 0, 1),
      isBrokenEnvelope,
      `${length} bytes`,
    );
  }
});

Deno.test("decodeEnvelope() gives the payload as a view, not as a copy", () => {
  const bytes = encodeEnvelope(1, 1, 8, new Uint8Array(5));
  assert.equal(decodeEnvelope(bytes, 0, 1).payload.buffer, bytes.buffer);
});

Deno.test("decodeEnvelope() throws when there is no byte", () => {
  assert.throws(() => decodeEnvelope(new Uint8Array(0), 0, 1), isBrokenEnvelope);
  assert.throws(() => decodeEnvelope(new Uint8Array(10), 10, 1), isBrokenEnvelope);
});

Deno.test("decodeEnvelope() throws when the payload is cut", () => {
  const bytes = encodeEnvelope(1, 1, 8, new Uint8Array(5));
  assert.throws(() => decodeEnvelope(bytes.subarray(0, -1), 0, 1), isBrokenEnvelope);
});

Deno.test("decodeEnvelope() throws when the length claims 4 GiB", () => {
  const bytes = Uint8Array.fromHex("010000000108ffffffff00");
  assert.throws(() => decodeEnvelope(bytes, 0, 1), isBrokenEnvelope);
});

Deno.test("decodeEnvelope() throws when the version is not the connection's", () => {
  for (let byte = 0; byte < 256; byte++) {
    const bytes = Uint8Array.of(byte, 0, 0, 0, 1, 1, 0, 0, 0, 0);
    for (const version of [1, 2] as const) {
      if (byte === version) assert.equal(decodeEnvelope(bytes, 0, version).version, version);
      else assert.throws(() => decodeEnvelope(bytes, 0, version), isBrokenEnvelope);
    }
  }
});

Deno.test("decodeEnvelope() reads any bytes or throws a violation, and what it reads is written the same", () => {
  const offset = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(12) });
  const property = fc.property(nearlyEnvelopes, offset, version, (bytes, offset, version) => {
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(bytes, offset, version);
    } catch (thrown) {
      assert.ok(isBrokenEnvelope(thrown), `${thrown}`);
      return;
    }
    const written = encodeEnvelope(version, envelope.sequence, envelope.type, envelope.payload);
    assert.deepEqual(written, new Uint8Array(bytes.subarray(offset, offset + written.length)));
  });
  fc.assert(property, { numRuns: 2_000 });
});

Deno.test("decodeEnvelope() reads one after the other what encodeEnvelope() wrote", () => {
  const envelopes = fc.array(fc.record({ sequence, type, payload }), { maxLength: 8 });
  fc.assert(fc.property(version, envelopes, (version, expected) => {
    const bytes = concat(expected.map((e) => encodeEnvelope(version, e.sequence, e.type, e.payload)));
    let offset = 0;
    for (const { sequence, type, payload } of expected) {
      const envelope = decodeEnvelope(bytes, offset, version);
      assert.deepEqual(envelope, { version, sequence, type, payload });
      offset += HEADER_BYTES + envelope.payload.length;
    }
    assert.equal(offset, bytes.length);
  }));
});

Deno.test("encodeEnvelope() puts the parts of a payload behind each other", () => {
  fc.assert(fc.property(version, fc.array(payload, { maxLength: 4 }), (version, parts) => {
    const whole = encodeEnvelope(version, 1, 8, concat(parts));
    assert.deepEqual(encodeEnvelope(version, 1, 8, ...parts), whole);
  }));
});

Deno.test("allocateEnvelope() leaves room for exactly the payload", () => {
  const bytes = allocateEnvelope(1, 0xffff_ffff, 7, 2);
  assert.equal(bytes.toHex(), "01" + "ffffffff" + "07" + "00000002" + "0000");
});

Deno.test("nextServerSequence() starts over behind the last one, and never gives a client's", () => {
  assert.equal(nextServerSequence(SERVER_SEQUENCE_MIN), 0x8000_0002);
  assert.equal(nextServerSequence(0xffff_fffe), 0xffff_ffff);
  assert.equal(nextServerSequence(0xffff_ffff), 0x8000_0001);
});

Deno.test("nextClientSequence() starts over behind the last one, and never gives 0 or a server's", () => {
  assert.equal(nextClientSequence(1), 2);
  assert.equal(nextClientSequence(0x7fff_fffe), CLIENT_SEQUENCE_MAX);
  assert.equal(nextClientSequence(CLIENT_SEQUENCE_MAX), 1);
});

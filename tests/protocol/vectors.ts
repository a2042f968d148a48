/**
 * What the vectors of every version have in common: their files, and how they are run against a codec.
 * @module
 */
import assert from "node:assert/strict";
import * as v from "valibot";
import { ERRORS, ProtocolViolation, RequestError } from "../../lib/errors.ts";
import {
  type ClientMessage,
  type Codec,
  decodeEnvelope,
  HEADER_BYTES,
  type ServerMessage,
} from "../../lib/protocol/mod.ts";

/** Bytes as the vectors write them: hex. */
export const bytes = v.pipe(
  v.string(),
  v.regex(/^([0-9a-f]{2})*$/),
  v.transform((hex) => Uint8Array.fromHex(hex)),
);

/** An integer of 32 bits. */
export const uint32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));

/** A file of envelopes that are taken. */
export function goodVectors<const S extends v.GenericSchema>(message: S) {
  return v.array(v.strictObject({
    name: v.string(),
    hex: bytes,
    sequence: uint32,
    message,
    canonical: v.boolean(),
  }));
}

/** A file of envelopes that are refused. */
export const badVectors = v.array(v.strictObject({
  name: v.string(),
  hex: bytes,
  sequence: uint32,
  error: v.picklist(["unmarshal", "invalid_user_id", "unknown_type", "too_large"]),
  code: v.number(),
}));

/** A file of WebSocket messages. */
export function frameVectors<const S extends v.GenericSchema>(message: S) {
  return v.array(v.strictObject({
    name: v.string(),
    hex: bytes,
    envelopes: v.array(v.strictObject({ sequence: uint32, message })),
    close: v.optional(v.number()),
  }));
}

type Good<M> = v.InferOutput<ReturnType<typeof goodVectors<v.GenericSchema<unknown, M>>>>;
type Bad = v.InferOutput<typeof badVectors>;
type Frames<M> = v.InferOutput<ReturnType<typeof frameVectors<v.GenericSchema<unknown, M>>>>;

/** One direction of a codec, and how its vectors' messages are those of the codec. */
export interface Side<M> {
  readonly codec: Codec;
  readonly sender: "client" | "server";
  readonly toMessage: (message: M) => ClientMessage | ServerMessage;
}

function decode({ codec, sender }: Side<never>, type: number, payload: Uint8Array) {
  return sender === "client"
    ? codec.decodeClientMessage(type, payload)
    : codec.decodeServerMessage(type, payload);
}

function encode({ codec, sender }: Side<never>, message: ClientMessage | ServerMessage, sequence: number) {
  // The message came out of a translation for the same sender; the compiler can't see that here.
  const encoded = sender === "client"
    ? codec.encodeClientMessage(message as ClientMessage, sequence)
    : codec.encodeServerMessage(message as ServerMessage, sequence);
  assert.ok(encoded !== null);
  return encoded;
}

/** One vector's whole envelope. */
function onlyEnvelope({ codec }: Side<never>, hex: Uint8Array) {
  const envelope = decodeEnvelope(hex, 0, codec.version);
  assert.equal(HEADER_BYTES + envelope.payload.length, hex.length, "the envelope is the whole vector");
  return envelope;
}

/** Tests that good vectors are read, and that what they say is written as the canonical ones are. */
export function testGood<M>(side: Side<M>, vectors: Good<M>): void {
  for (const { name, hex, sequence, message, canonical } of vectors) {
    Deno.test(`v${side.codec.version}, from a ${side.sender}, takes: ${name}`, () => {
      const expected = side.toMessage(message);
      const envelope = onlyEnvelope(side, hex);
      assert.equal(envelope.sequence, sequence);
      assert.deepEqual(decode(side, envelope.type, envelope.payload), expected);
      const encoded = encode(side, expected, sequence);
      assert.equal(encoded.toHex() === hex.toHex(), canonical, `encoded: ${encoded.toHex()}`);
      assert.deepEqual(decode(side, envelope.type, encoded.subarray(HEADER_BYTES)), expected);
    });
  }
}

/** Tests that bad vectors are refused, and with which error. */
export function testBad<M>(side: Side<M>, vectors: Bad): void {
  for (const { name, hex, sequence, error, code } of vectors) {
    Deno.test(`v${side.codec.version}, from a ${side.sender}, refuses: ${name}`, () => {
      const envelope = onlyEnvelope(side, hex);
      assert.equal(envelope.sequence, sequence);
      assert.equal(ERRORS[error].code, code);
      assert.throws(
        () => decode(side, envelope.type, envelope.payload),
        (thrown) => thrown instanceof RequestError && thrown.error === error,
      );
    });
  }
}

/** Tests that WebSocket messages are read envelope by envelope, up to where they are broken. */
export function testFrames<M>(side: Side<M>, vectors: Frames<M>): void {
  const { version } = side.codec;
  for (const { name, hex, envelopes, close } of vectors) {
    Deno.test(`decodeEnvelope() reads a WebSocket message of a v${version} ${side.sender}: ${name}`, () => {
      let offset = 0;
      for (const { sequence, message } of envelopes) {
        const envelope = decodeEnvelope(hex, offset, version);
        assert.equal(envelope.sequence, sequence);
        assert.deepEqual(decode(side, envelope.type, envelope.payload), side.toMessage(message));
        offset += HEADER_BYTES + envelope.payload.length;
      }
      if (close === undefined) {
        assert.equal(offset, hex.length);
      } else {
        assert.throws(
          () => decodeEnvelope(hex, offset, version),
          (thrown) => thrown instanceof ProtocolViolation && thrown.closeCode === close,
        );
      }
    });
  }
}

/** The message types that vectors have. */
export function typesOf(vectors: readonly { readonly hex: Uint8Array }[]): number[] {
  return [...new Set(vectors.map(({ hex }) => hex[5] ?? -1))].sort((a, b) => a - b);
}

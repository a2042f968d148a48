/**
 * Both codecs, in both directions: reading throws nothing but the protocol's own errors and allocates no more than its
 * input warrants; what was read can be written, and is then the same; and what means the same is read as the same.
 */
import assert from "node:assert/strict";
import { decode, encode } from "@msgpack/msgpack";
import { DESCRIPTION_BYTES_MAX } from "../../lib/limits.ts";
import { ProtocolViolation, RequestError } from "../../lib/errors.ts";
import {
  checkShape,
  type ClientMessage,
  type Codec,
  decodeEnvelope,
  HEADER_BYTES,
  type ServerMessage,
  TYPE,
  v1,
  v2,
} from "../../lib/protocol/mod.ts";
import { Random } from "../process/random.ts";
import { anyValue, encodeLoosely, lie, nest, vary } from "./messagepack_values.ts";
import { mutate, splice } from "./mutation.ts";
import { readSeedEnvelopes, type SeedEnvelope } from "./seed_envelopes.ts";
import { Counts, type OpenTarget, type Target } from "./target.ts";

const INPUTS_A_ROUND = 400;

/** Errors that reading may give. */
const READ_ERRORS = ["unknown_type", "unmarshal", "invalid_user_id", "too_large"];

/** The largest payload that is written in another form. */
const SAME_MEANING_BYTES_MAX = 1_000;

/** What one input may take beyond what its length warrants, with what the runtime itself does meanwhile. */
const ALLOCATED_MAX = 8 * 1_048_576;
const ALLOCATED_PER_BYTE = 64;

/** Types whose payload is a layout in both versions, or empty. */
const LAYOUTS: readonly number[] = [TYPE.ack, TYPE.preKeysLow, TYPE.userMessage, TYPE.userMessages];

/** How many arrays and maps may be nested (protocol §3.1). */
const DEPTH_MAX = 6;

const USER_IDS = ["3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10", "c2b8a1d6-5e43-4f19-9c0d-7a6b5e4d3c21"];

type Side = SeedEnvelope["side"];
type Message = ClientMessage | ServerMessage;

const decodeAs = (codec: Codec, side: Side, type: number, payload: Uint8Array): Message =>
  side === "client" ? codec.decodeClientMessage(type, payload) : codec.decodeServerMessage(type, payload);

function encodeAs(codec: Codec, side: Side, message: Message): Uint8Array {
  const bytes = side === "client"
    ? codec.encodeClientMessage(message as ClientMessage, 1)
    : codec.encodeServerMessage(message as ServerMessage, 1);
  assert.ok(bytes !== null, "a message that was read can't be written");
  return bytes;
}

/** The message, or the name of the error. */
function readOrName(codec: Codec, side: Side, type: number, payload: Uint8Array): Message | string {
  try {
    return decodeAs(codec, side, type, payload);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    assert.ok(READ_ERRORS.includes(error.error), `reading threw ${error.error}`);
    assert.ok(error.description.length < 2_000, "a description that is as long as the input");
    return error.error;
  }
}

/** Reads a payload as whatever it may be, and checks all that must hold. */
export function checkPayload(
  codec: Codec,
  side: Side,
  type: number,
  payload: Uint8Array,
  counts: Counts,
): void {
  const read = readOrName(codec, side, type, payload);
  counts.add(typeof read === "string" ? read : "read");
  if (typeof read === "string") return;
  const canonical = encodeAs(codec, side, read);
  const envelope = decodeEnvelope(canonical, 0, codec.version);
  assert.equal(envelope.type, type, "the type after writing");
  assert.equal(canonical.length, HEADER_BYTES + envelope.payload.length);
  // A layout can say a thing in one way only.
  if (LAYOUTS.includes(type)) {
    assert.deepEqual(envelope.payload, Uint8Array.from(payload), "not as it was read");
  }
  const again = decodeAs(codec, side, type, envelope.payload);
  assert.deepEqual(again, cut(read, again), "what was written is read as another");
  assert.deepEqual(encodeAs(codec, side, again), canonical);
}

/** A description that is too long is read whole, and written cut. */
function cut(read: Message, written: Message): Message {
  if (read.type !== "error" || written.type !== "error") return read;
  const isCut = new TextEncoder().encode(read.description).length > DESCRIPTION_BYTES_MAX &&
    read.description.startsWith(written.description) && written.description.length > 0;
  return isCut ? { ...read, description: written.description } : read;
}

/** Cuts bytes into envelopes as a session does; only what the protocol foresees may be thrown. */
function checkEnvelopes(codec: Codec, bytes: Uint8Array): void {
  try {
    for (let offset = 0; offset < bytes.length;) {
      const { payload } = decodeEnvelope(bytes, offset, codec.version);
      assert.equal(payload.byteOffset, bytes.byteOffset + offset + HEADER_BYTES);
      offset += HEADER_BYTES + payload.length;
      assert.ok(offset <= bytes.length, "an envelope beyond its bytes");
    }
  } catch (error) {
    if (!(error instanceof ProtocolViolation)) throw error;
    assert.equal(error.closeCode, 1002);
    assert.ok(new TextEncoder().encode(error.reason).length <= 123, "a reason that fits no close frame");
  }
}

/** A shape that was found good must be decoded without more than a refused name. */
function checkMessagePack(payload: Uint8Array): void {
  try {
    checkShape(payload);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return;
  }
  try {
    decode(payload);
  } catch (error) {
    const isForeseen = error instanceof Error &&
      (error.name === "DecodeError" || /DataView|byte array|timestamp/i.test(error.message));
    assert.ok(isForeseen, `decode() failed on a good shape: ${error}`);
  }
}

class Codecs implements OpenTarget {
  readonly #counts = new Counts();
  #inputs = 0;

  constructor(private readonly seeds: readonly SeedEnvelope[]) {}

  run(seed: number): Promise<void> {
    const random = new Random(seed);
    for (let i = 0; i < INPUTS_A_ROUND; i++) this.#one(random);
    return Promise.resolve();
  }

  describe(): string {
    return `${this.#inputs} inputs; ${this.#counts}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #one(random: Random): void {
    const seed = random.pick(this.seeds);
    const codec = random.chance(0.9) === (seed.version === 1) ? v1 : v2;
    const side = random.chance(0.9) ? seed.side : random.pick(["client", "server"] as const);
    const die = random.next();
    this.#inputs++;
    if (die < 0.2) return this.#sameMeaning(random, seed);
    const type = random.chance(0.95) ? seed.type : random.integer(256);
    const payload = die < 0.55
      ? mutate(random, seed.payload)
      : die < 0.7
      ? splice(random, seed.payload, random.pick(this.seeds).payload)
      : die < 0.85
      ? anyValue(random, USER_IDS)
      : die < 0.95
      ? lie(random)
      : random.bytes(random.integer(80));
    try {
      this.#withinBounds(payload.length, () => {
        checkPayload(codec, side, type, payload, this.#counts);
        checkMessagePack(payload);
      });
      checkEnvelopes(codec, mutate(random, seed.bytes));
    } catch (error) {
      const shown = payload.subarray(0, 2_000).toHex();
      throw new Error(`version ${codec.version}, ${side}, type ${type}, payload ${shown}: ${error}`);
    }
  }

  /** What is written in another form is read as the same, or refused as the same. */
  #sameMeaning(random: Random, { version, side, type, payload }: SeedEnvelope): void {
    const codec = version === 1 ? v1 : v2;
    const first = payload[0] ?? 0;
    const isMap = (first >= 0x80 && first <= 0x8f) || first === 0xde || first === 0xdf;
    const isLayout = LAYOUTS.includes(type) || (version === 1 && type === TYPE.error);
    // Not near the limit of values, which a field that nobody knows could pass.
    if (!isMap || isLayout || payload.length > SAME_MEANING_BYTES_MAX) return;
    const read = readOrName(codec, side, type, payload);
    if (typeof read === "string") return;
    const whole = decode(payload);
    const levels = 1 + random.integer(2 * DEPTH_MAX);
    const deep = encode({ ...Object(whole), X: nest(levels) });
    const expected = levels < DEPTH_MAX ? read : "unmarshal"; // the map is one level, too
    assert.deepEqual(readOrName(codec, side, type, deep), expected, `with ${levels} arrays in a map`);
    const value = vary(random, whole, USER_IDS);
    const plain = encode(value);
    const loose = encodeLoosely(random, value);
    checkPayload(codec, side, type, loose, this.#counts);
    const [a, b] = [plain, loose].map((bytes) => readOrName(codec, side, type, bytes));
    assert.deepEqual(
      b,
      a,
      `${loose.toHex()} is not read as ${plain.toHex()} is (version ${version}, type ${type})`,
    );
    this.#counts.add("same meaning");
  }

  #withinBounds(inputBytes: number, work: () => void): void {
    const before = Deno.memoryUsage();
    work();
    const after = Deno.memoryUsage();
    const allocated = after.heapUsed + after.external - before.heapUsed - before.external;
    assert.ok(
      allocated < ALLOCATED_MAX + inputBytes * ALLOCATED_PER_BYTE,
      `${allocated} bytes were allocated for ${inputBytes}`,
    );
  }
}

/** The codecs. */
export const codecs: Target = {
  name: "codecs",
  open: async () => new Codecs(await readSeedEnvelopes()),
};

/** WebSocket messages that no client should send: mutations of valid ones, lies about lengths, and noise. */
import { encode } from "@msgpack/msgpack";
import { parse } from "uuid";
import type { Frame } from "./fuzz_judge.ts";
import type { Random } from "./random.ts";

const HEADER_BYTES = 10;
const FRAME_BYTES_MAX = 1_048_576;

/** Makes an envelope; `claimed` is the length that its header tells. */
function envelope(sequence: number, type: number, payload: Uint8Array, claimed = payload.length) {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 1);
  view.setUint32(1, sequence);
  view.setUint8(5, type);
  view.setUint32(6, claimed);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

const FIELDS = [
  "RegistrationID",
  "IdentityKey",
  "SignedPreKey",
  "PreKeys",
  "UserID",
  "KnownDeviceIDs",
  "DeviceID",
  "PreKey",
  "More",
  "__proto__",
  "constructor",
  "",
] as const;

/** First bytes of MessagePack values whose length or count follows. */
const COUNTED = [0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf] as const;
const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0xfffe, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] as const;
const SEQUENCES = [0, 1, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0x8000_0010, 0xffff_ffff] as const;

/** Makes frames. */
export class Fuzzer {
  #sequence = 0;

  /** @param users those who are connected: what a mutation leaves valid concerns them. */
  constructor(private readonly random: Random, private readonly users: readonly string[]) {}

  /** The next frame; about one in fifty must close the connection. */
  next(): Frame {
    const { random } = this;
    const die = random.next();
    if (die < 0.012) return this.#closing();
    if (die < 0.0125) return this.#large();
    if (die < 0.15) {
      const parts = Array.from({ length: 2 + random.integer(10) }, () => this.#envelope());
      return { kind: "several", content: concatenate(parts) };
    }
    if (die < 0.16) return { kind: "bits", content: this.#mutate(this.#envelope()) };
    return { kind: "single", content: this.#envelope() };
  }

  #nextSequence(): number {
    if (this.random.chance(0.03)) return this.random.pick(SEQUENCES);
    return ++this.#sequence;
  }

  /** An envelope that is whole; what is in it may be anything. */
  #envelope(): Uint8Array<ArrayBuffer> {
    const { random } = this;
    const [type, payload] = this.#valid();
    const die = random.next();
    if (die < 0.25) return envelope(this.#nextSequence(), type, payload);
    if (die < 0.6) return envelope(this.#nextSequence(), type, this.#mutate(payload));
    if (die < 0.75) return envelope(this.#nextSequence(), random.pick([3, 5]), this.#value(0));
    if (die < 0.9) return envelope(this.#nextSequence(), random.pick([3, 5]), this.#lie());
    return envelope(this.#nextSequence(), random.integer(256), random.bytes(random.integer(80)));
  }

  /** A type with a payload as it should be, of all types of both sides. */
  #valid(): [number, Uint8Array] {
    const { random } = this;
    const type = 1 + random.integer(8);
    const userId = random.chance(0.9) ? random.pick(this.users) : crypto.randomUUID();
    const key = () => random.bytes(1 + random.integer(40));
    switch (type) {
      case 2:
        return [type, Uint8Array.of(random.integer(256), ...random.bytes(random.integer(20)))];
      case 3: {
        const PreKeys = Array.from({ length: random.integer(5) }, key);
        // Mostly the same installation, so that pools and mailboxes live for a while.
        const IdentityKey = random.chance(0.9) ? Uint8Array.of(1, 2, 3) : key();
        return [
          type,
          encode({ RegistrationID: random.integer(2), IdentityKey, SignedPreKey: key(), PreKeys }),
        ];
      }
      case 5: {
        const KnownDeviceIDs = Array.from({ length: random.integer(4) }, () => random.integer(3));
        return [type, encode({ UserID: userId, KnownDeviceIDs })];
      }
      case 6:
        return [
          type,
          encode({ UserID: userId, DeviceID: 1, RegistrationID: 1, IdentityKey: key(), More: 0 }),
        ];
      case 7:
        return [type, random.bytes(2)];
      case 8: {
        const device = Uint8Array.of(0, 0, 0, random.integer(3));
        return [type, concatenate([parse(userId), device, random.bytes(random.integer(200))])];
      }
      default: // Ack and Unregister, which would otherwise empty everything all the time
        return [random.chance(0.9) ? 1 : 4, new Uint8Array()];
    }
  }

  /** Changes bytes, cuts out, doubles, cuts off and adds. */
  #mutate(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const { random } = this;
    let result = Uint8Array.from(bytes);
    for (let n = 1 + random.integer(4); n > 0; n--) {
      const at = random.integer(result.length + 1);
      const to = Math.min(result.length, at + 1 + random.integer(8));
      const [head, middle, tail] = [result.slice(0, at), result.slice(at, to), result.slice(to)];
      switch (random.integer(5)) {
        case 0:
          result = concatenate([head, random.bytes(middle.length), tail]);
          break;
        case 1:
          result = concatenate([head, tail]);
          break;
        case 2:
          result = concatenate([head, middle, middle, tail]);
          break;
        case 3:
          result = concatenate([head, this.#extreme(), tail]);
          break;
        default:
          result = random.chance(0.3) ? head : concatenate([result, random.bytes(random.integer(8))]);
      }
    }
    return result;
  }

  #extreme(): Uint8Array {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, this.random.pick(EXTREMES));
    return bytes.subarray(this.random.pick([0, 2, 3]));
  }

  /** Any MessagePack value; on top mostly a map with names that mean something. */
  #value(depth: number): Uint8Array {
    const { random } = this;
    const count = depth > 7 ? 0 : random.integer(6);
    const isMap = depth === 0 ? random.chance(0.9) : random.chance(0.15);
    if (isMap) {
      const entries = Array.from({ length: count }, () => [
        random.chance(0.95) ? encode(random.pick(FIELDS)) : this.#value(depth + 1),
        this.#value(depth + 1),
      ]);
      return concatenate([Uint8Array.of(0x80 | count), ...entries.flat()]);
    }
    if (random.chance(0.25)) {
      return concatenate([
        Uint8Array.of(0x90 | count),
        ...Array.from({ length: count }, () => this.#value(depth + 1)),
      ]);
    }
    const n = random.pick(EXTREMES);
    return encode(
      random.pick([n, -n, n / 3, null, true, "text", random.pick(this.users), random.bytes(9), ""]),
    );
  }

  /** A map with a value whose header claims more, or less, than there is. */
  #lie(): Uint8Array {
    const { random } = this;
    const header = concatenate([Uint8Array.of(random.pick(COUNTED)), this.#extreme()]);
    const liar = concatenate([header, random.bytes(random.integer(30))]);
    const nested = random.chance(0.2) ? new Uint8Array(random.integer(300)).fill(0x91) : new Uint8Array();
    return concatenate([Uint8Array.of(0x82), encode(random.pick(FIELDS)), nested, liar, this.#value(1)]);
  }

  /** A frame after which the connection can't go on. */
  #closing(): Frame {
    const { random } = this;
    const whole = this.#envelope();
    switch (random.integer(6)) {
      case 0:
        return { kind: "text", content: random.pick(["", "hello", "\u0000", JSON.stringify({ a: 1 })]) };
      case 1:
        return { kind: "empty", content: new Uint8Array() };
      case 2:
        return { kind: "random", content: random.bytes(1 + random.integer(60)) };
      case 3:
        return { kind: "cut", content: whole.slice(0, 1 + random.integer(whole.length - 1)) };
      case 4:
        return {
          kind: "version",
          content: Uint8Array.from(whole, (byte, i) => i === 0 ? random.integer(256) : byte),
        };
      default: {
        const lying = envelope(this.#nextSequence(), 8, random.bytes(30), random.pick(EXTREMES));
        return { kind: "length", content: concatenate([whole, lying]) };
      }
    }
  }

  /** A frame near the limit of a WebSocket message, or beyond it. */
  #large(): Frame {
    const { random } = this;
    const length = FRAME_BYTES_MAX - HEADER_BYTES + random.integer(3) - 1;
    const payload = new Uint8Array(length).fill(random.integer(256));
    return { kind: "large", content: envelope(this.#nextSequence(), random.pick([3, 5, 8]), payload) };
  }
}

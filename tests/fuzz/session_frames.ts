/** WebSocket messages of either version that no client should send, among some that are as they should be. */
import { encode } from "@msgpack/msgpack";
import { parse } from "uuid";
import { HEADER_BYTES, type Version } from "../../lib/protocol/mod.ts";
import type { Random } from "../process/random.ts";
import { concat } from "../support/websocket_frames.ts";
import { anyValue, lie } from "./messagepack_values.ts";
import { EXTREMES, makeUserId, mutate } from "./mutation.ts";
import type { SeedEnvelope } from "./seed_envelopes.ts";
import { type Frame, FRAME_BYTES_MAX } from "./session_judge.ts";

/** Sequences at the edges of both ranges. */
const SEQUENCES = [0, 1, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0x8000_0010, 0xffff_ffff] as const;

/** Installations and devices that clients use: few, so that what they say fits sometimes. */
const INSTALLATIONS = 2;
const DEVICES = 3;

/** Makes an envelope; `claimed` is the length that its header tells. */
function envelope(
  version: number,
  sequence: number,
  type: number,
  payload: Uint8Array,
  claimed = payload.length,
): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  header[0] = version;
  view.setUint32(1, sequence);
  header[5] = type;
  view.setUint32(6, claimed);
  return concat([header, payload]);
}

function uint(value: number, bytes: 1 | 2 | 4): Uint8Array {
  const result = new Uint8Array(4);
  new DataView(result.buffer).setUint32(0, value);
  return result.subarray(4 - bytes);
}

/** Makes frames for one connection after the other. */
export class FrameMaker {
  #sequence = 0;

  /**
   * @param users those who are connected: what a mutation leaves valid concerns them.
   * @param recent sequences of the server that came lately.
   */
  constructor(
    private readonly random: Random,
    private readonly version: Version,
    private readonly users: readonly string[],
    private readonly seeds: readonly SeedEnvelope[],
    private readonly recent: readonly number[],
  ) {}

  /** The next frame: a Register first; later about one in sixty must close the connection. */
  next(): Frame {
    const { random } = this;
    if (this.#sequence === 0) {
      return { kind: "register", content: envelope(this.version, ++this.#sequence, 3, this.#register()) };
    }
    const die = random.next();
    if (die < 0.015) return this.#closing();
    if (die < 0.017) return this.#large();
    if (die < 0.12) {
      const parts = Array.from({ length: 2 + random.integer(10) }, () => this.#envelope());
      return { kind: "several", content: concat(parts) };
    }
    if (die < 0.14) {
      const one = this.#envelope();
      return { kind: "doubled", content: concat([one, one]) };
    }
    if (die < 0.15) return { kind: "bits", content: mutate(random, this.#envelope()) };
    return { kind: "single", content: this.#envelope() };
  }

  #nextSequence(): number {
    if (this.random.chance(0.03)) return this.random.pick(SEQUENCES);
    return ++this.#sequence;
  }

  /** An envelope that is whole; what is in it may be anything. */
  #envelope(): Uint8Array<ArrayBuffer> {
    const { random } = this;
    const die = random.next();
    const whole = (type: number, payload: Uint8Array) =>
      envelope(this.version, this.#nextSequence(), type, payload);
    if (die < 0.12) return this.#acknowledgement();
    if (die < 0.75) {
      const [type, payload] = this.#valid();
      return whole(type, die < 0.45 ? payload : mutate(random, payload));
    }
    if (die < 0.82) {
      const { type, payload } = random.pick(this.seeds);
      return whole(type, payload.length > 5_000 ? payload.subarray(0, 5_000) : payload);
    }
    const map = () => random.pick(this.version === 1 ? [3, 5] : [2, 3, 4, 5, 12]);
    if (die < 0.9) return whole(map(), anyValue(random, this.users));
    if (die < 0.96) return whole(map(), lie(random));
    return whole(random.integer(256), random.bytes(random.integer(80)));
  }

  /** Of what came, of what never came, and twice; sometimes an Error instead. */
  #acknowledgement(): Uint8Array<ArrayBuffer> {
    const { random, recent, version } = this;
    const at = random.integer(1_000_000); // drawn always, so that what follows does not depend on what came
    const known = recent.length > 0 ? recent[at % recent.length] ?? 1 : 1;
    const sequence = random.chance(0.7) ? known : random.pick([...SEQUENCES, random.integer(2 ** 32)]);
    if (random.chance(0.9)) return envelope(version, sequence, 1, new Uint8Array());
    const refusal = version === 1
      ? Uint8Array.of(random.integer(256), ...random.bytes(random.integer(20)))
      : encode({
        Code: random.pick(EXTREMES),
        Description: random.pick(["", "no", "\u{1f511}".repeat(300)]),
      });
    return envelope(version, sequence, 2, refusal);
  }

  #key(): Uint8Array {
    return this.random.bytes(1 + this.random.integer(40));
  }

  #user(): string {
    return this.random.chance(0.9) ? this.random.pick(this.users) : makeUserId(this.random);
  }

  /** A type with a payload as it should be: mostly requests, and now and then what only a server sends. */
  #valid(): [number, Uint8Array] {
    const { random, version } = this;
    const type = random.pick(
      version === 1 ? [3, 3, 4, 5, 5, 6, 7, 8, 8, 8] : [3, 3, 4, 5, 5, 6, 8, 8, 9, 10, 10, 10, 11, 12, 13],
    );
    switch (type) {
      case 3:
        return [type, this.#register()];
      case 4: // rarely, or everything would be empty all the time
        if (!random.chance(0.15)) return [5, encode({ UserID: this.#user(), KnownDeviceIDs: [] })];
        if (version === 1 || random.chance(0.8)) return [type, new Uint8Array()];
        return [type, encode({ DeviceID: random.integer(DEVICES + 2) })];
      case 5: {
        const KnownDeviceIDs = Array.from({ length: random.integer(4) }, () => random.integer(DEVICES));
        const claim = version === 2 && random.chance(0.5) ? { ClaimID: this.#id() } : {};
        return [type, encode({ UserID: this.#user(), KnownDeviceIDs, ...claim })];
      }
      case 8: {
        const to = [parse(this.#user()), uint(random.integer(DEVICES), 4)];
        const ciphertext = random.bytes(random.integer(200));
        if (version === 1) return [type, concat([...to, ciphertext])];
        return [type, concat([...to, this.#id(), this.#flags([1, 4, 5]), uint(this.#ttl(), 4), ciphertext])];
      }
      case 10:
        return [type, this.#toAll()];
      case 12:
        return [type, encode({ UserID: this.#user() })];
      default:
        return [type, random.bytes(random.integer(8))];
    }
  }

  /** One of a few, so that some come again. */
  #id(): Uint8Array {
    return new Uint8Array(16).fill(this.random.integer(40));
  }

  #flags(set: readonly number[]): Uint8Array {
    return Uint8Array.of(this.random.chance(0.6) ? 0 : this.random.pick([...set, 2, 128]));
  }

  #ttl(): number {
    return this.random.chance(0.5) ? 0 : this.random.pick(EXTREMES);
  }

  #register(): Uint8Array {
    const { random } = this;
    // Mostly the same installation, so that pools and mailboxes live for a while.
    const IdentityKey = random.chance(0.95) ? Uint8Array.of(1, 2, 3) : this.#key();
    const PreKeys = Array.from({ length: random.integer(5) }, () => this.#key());
    const replace = this.version === 2 && random.chance(0.2) ? { Replace: random.chance(0.8) } : {};
    const RegistrationID = random.chance(0.9) ? 0 : random.integer(INSTALLATIONS);
    return encode({ RegistrationID, IdentityKey, SignedPreKey: this.#key(), PreKeys, ...replace });
  }

  /** A UserMessages; the count, a length, or the end may be wrong. */
  #toAll(): Uint8Array {
    const { random } = this;
    const ids = Array.from({ length: DEVICES }, (_, id) => id).filter(() => random.chance(0.6));
    if (random.chance(0.05)) ids.push(random.pick([...ids, 0xffff_ffff]));
    const devices = ids.flatMap((id) => {
      const ciphertext = random.bytes(random.integer(50));
      const claimed = random.chance(0.97) ? ciphertext.length : random.pick(EXTREMES);
      const installation = random.chance(0.9) ? 0 : random.integer(INSTALLATIONS);
      return [uint(id, 4), uint(installation, 4), uint(claimed, 4), ciphertext];
    });
    const count = random.chance(0.95) ? ids.length : random.pick(EXTREMES) & 0xffff;
    const head = [parse(this.#user()), this.#id(), this.#flags([1, 4, 8, 12, 13]), uint(this.#ttl(), 4)];
    const rest = random.chance(0.03) ? random.bytes(3) : new Uint8Array();
    return concat([...head, uint(count, 2), ...devices, rest]);
  }

  /** A frame after which the connection can't go on. */
  #closing(): Frame {
    const { random, version } = this;
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
      case 4: {
        const other = random.pick([0, 3 - version, 255, random.integer(256)]);
        return { kind: "version", content: concat([Uint8Array.of(other), whole.subarray(1)]) };
      }
      default: {
        const lying = envelope(version, this.#nextSequence(), 8, random.bytes(30), random.pick(EXTREMES));
        return { kind: "length", content: concat([whole, lying]) };
      }
    }
  }

  /** A frame near the limit of a WebSocket message, or beyond it. */
  #large(): Frame {
    const { random } = this;
    const length = FRAME_BYTES_MAX - HEADER_BYTES + random.integer(3) - 1;
    const payload = new Uint8Array(length).fill(random.integer(256));
    const type = random.pick([3, 5, 8, 10]);
    return { kind: "large", content: envelope(this.version, this.#nextSequence(), type, payload) };
  }
}

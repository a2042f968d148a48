/** Bytes that are almost right. */
import { v4 } from "uuid";
import type { Random } from "../process/random.ts";
import { concat } from "../support/websocket_frames.ts";

/** Numbers at which lengths, counts and sequences go wrong. */
export const EXTREMES = [
  0,
  1,
  0x7f,
  0x80,
  0xff,
  0x100,
  0xfffe,
  0xffff,
  0x1_0000,
  0x7fff_ffff,
  0x8000_0000,
  0xffff_ffff,
] as const;

/** One of the extremes, with its last 1, 2 or 4 bytes. */
export function extreme(random: Random): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, random.pick(EXTREMES));
  return bytes.subarray(random.pick([0, 2, 3]));
}

/** Changes, cuts out, doubles, inserts, cuts off or adds, up to four times. */
export function mutate(random: Random, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  let result = Uint8Array.from(bytes);
  for (let n = 1 + random.integer(4); n > 0; n--) {
    const at = random.integer(result.length + 1);
    const to = Math.min(result.length, at + 1 + random.integer(8));
    const [head, middle, tail] = [result.subarray(0, at), result.subarray(at, to), result.subarray(to)];
    switch (random.integer(7)) {
      case 0:
        result = concat([head, random.bytes(middle.length), tail]);
        break;
      case 1:
        result = concat([head, tail]);
        break;
      case 2:
        result = concat([head, middle, middle, tail]);
        break;
      case 3:
        result = concat([head, extreme(random), tail]);
        break;
      case 4: // one bit
        result = Uint8Array.from(result);
        if (at < result.length) result[at] = (result[at] ?? 0) ^ (1 << random.integer(8));
        break;
      case 5: // over what is there, so that lengths elsewhere still fit
        result = Uint8Array.from(result);
        result.set(extreme(random).subarray(0, result.length - at), at);
        break;
      default:
        result = random.chance(0.3) ? concat([head]) : concat([result, random.bytes(random.integer(8))]);
    }
  }
  return result;
}

/** The beginning of one and the end of another. */
export function splice(random: Random, a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat([a.subarray(0, random.integer(a.length + 1)), b.subarray(random.integer(b.length + 1))]);
}

/** The ID of a user, the same for the same seed. */
export function makeUserId(random: Random): string {
  return v4({ random: random.bytes(16) });
}

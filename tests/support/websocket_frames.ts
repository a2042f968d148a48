/** WebSocket frames (RFC 6455 §5.2) as a client writes and reads them, without any library in between. */

/** What a frame is. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** One frame of a server. */
export interface Frame {
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly payload: Uint8Array;
}

const FINAL = 0x80;
const MASKED = 0x80;

/** Makes a masked frame. */
export function encodeFrame(opcode: number, payload: Uint8Array, isFinal = true): Uint8Array<ArrayBuffer> {
  const wide = payload.length > 0xffff ? 8 : payload.length > 125 ? 2 : 0;
  const start = 2 + wide + 4;
  const bytes = new Uint8Array(start + payload.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = opcode | (isFinal ? FINAL : 0);
  bytes[1] = MASKED | (wide === 8 ? 127 : wide === 2 ? 126 : payload.length);
  if (wide === 8) view.setBigUint64(2, BigInt(payload.length));
  else if (wide === 2) view.setUint16(2, payload.length);
  const mask = crypto.getRandomValues(bytes.subarray(start - 4, start));
  for (let i = 0; i < payload.length; i++) bytes[start + i] = (payload[i] ?? 0) ^ (mask[i % 4] ?? 0);
  return bytes;
}

/** Reads frames out of the bytes of a connection, in whatever pieces they come. */
export class FrameReader {
  #rest = new Uint8Array();

  /** Takes the next piece, and gives the frames that are whole by now. */
  feed(piece: Uint8Array): Frame[] {
    const bytes = new Uint8Array(this.#rest.length + piece.length);
    bytes.set(this.#rest);
    bytes.set(piece, this.#rest.length);
    const frames: Frame[] = [];
    let offset = 0;
    for (;;) {
      const frame = readFrame(bytes, offset);
      if (frame === null) break;
      frames.push(frame);
      offset = frame.end;
    }
    this.#rest = bytes.subarray(offset);
    return frames;
  }
}

function readFrame(bytes: Uint8Array, offset: number): Frame & { end: number } | null {
  const first = bytes[offset];
  const second = bytes[offset + 1];
  if (first === undefined || second === undefined) return null;
  if ((second & MASKED) !== 0) throw new Error("a server must not mask its frames");
  const short = second & 0x7f;
  const wide = short === 127 ? 8 : short === 126 ? 2 : 0;
  const start = offset + 2 + wide;
  if (start > bytes.length) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = wide === 8
    ? Number(view.getBigUint64(offset + 2))
    : wide === 2
    ? view.getUint16(offset + 2)
    : short;
  const end = start + length;
  if (end > bytes.length) return null;
  return {
    opcode: first & 0x0f,
    isFinal: (first & FINAL) !== 0,
    payload: bytes.slice(start, end),
    end,
  };
}

/** Puts parts together. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/**
 * What a server owes for a frame, by the text of the protocol (§2, §3) and not by its code.
 * @module
 */

const HEADER_BYTES = 10;
const FRAME_BYTES_MAX = 1_048_576;

/** A WebSocket message, and the kind of it. */
export interface Frame {
  readonly kind: string;
  readonly content: Uint8Array<ArrayBuffer> | string;
}

/** What the server owes for a frame. */
export interface Owed {
  /** The sequences of the envelopes that must be answered. */
  readonly answers: readonly number[];
  /** The code with which the connection must be closed, if it must. */
  readonly closeCode: number | null;
}

/** Reads a frame as the protocol has it, and tells what must come of it. */
export function judge({ content }: Frame): Owed {
  const answers: number[] = [];
  if (typeof content === "string") return { answers, closeCode: 1003 };
  if (content.length > FRAME_BYTES_MAX) return { answers, closeCode: 1009 };
  if (content.length === 0) return { answers, closeCode: 1002 };
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  for (let at = 0; at < content.length;) {
    const rest = content.length - at;
    if (rest < HEADER_BYTES || view.getUint8(at) !== 1) return { answers, closeCode: 1002 };
    const length = view.getUint32(at + 6);
    if (length > rest - HEADER_BYTES) return { answers, closeCode: 1002 };
    const type = view.getUint8(at + 5);
    // Ack: answered if it has a payload. Error: answered if it has none. Everything else is a request.
    const isAnswered = type === 1 ? length > 0 : type === 2 ? length === 0 : true;
    if (isAnswered) answers.push(view.getUint32(at + 1));
    at += HEADER_BYTES + length;
  }
  return { answers, closeCode: null };
}

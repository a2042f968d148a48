/** What a server owes for a WebSocket message, by the text of the protocol (§2 to §4) and not by its code. */
import { HEADER_BYTES, type Version } from "../../lib/protocol/mod.ts";

/** The limit of a WebSocket message (protocol §6). */
export const FRAME_BYTES_MAX = 1_048_576;

/** A WebSocket message, and the kind of it. */
export interface Frame {
  readonly kind: string;
  readonly content: Uint8Array<ArrayBuffer> | string;
}

/** A request that must, or may, be answered. */
export interface OwedAnswer {
  readonly sequence: number;
  readonly type: number;
  /** Whether an answer may also be left out: an Error of a client, where it depends on what is in it. */
  readonly isOptional: boolean;
}

/** What a frame must lead to: answers; and the code with which it ends the connection, if it does. */
export interface Owed {
  readonly answers: readonly OwedAnswer[];
  readonly closeCode: number | null;
}

/** Reads a frame as the protocol has it. */
export function judge({ content }: Frame, version: Version): Owed {
  const answers: OwedAnswer[] = [];
  if (typeof content === "string") return { answers, closeCode: 1003 };
  if (content.length > FRAME_BYTES_MAX) return { answers, closeCode: 1009 };
  if (content.length === 0) return { answers, closeCode: 1002 };
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  for (let at = 0; at < content.length;) {
    const rest = content.length - at;
    if (rest < HEADER_BYTES || view.getUint8(at) !== version) return { answers, closeCode: 1002 };
    const length = view.getUint32(at + 6);
    if (length > rest - HEADER_BYTES) return { answers, closeCode: 1002 };
    const type = view.getUint8(at + 5);
    const asks = type === 1 ? length > 0 : true;
    // In version 1 an Error is broken only if it is empty; in version 2 it is a map, which may be broken in many ways.
    const isOptional = type === 2 && length > 0;
    if (asks && !(isOptional && version === 1)) {
      answers.push({ sequence: view.getUint32(at + 1), type, isOptional });
    }
    at += HEADER_BYTES + length;
  }
  return { answers, closeCode: null };
}

/** Whether an Ack of the server, by the length of its payload, can answer a request of this type (§3, §4.3). */
export function ackFits(version: Version, type: number, length: number): boolean {
  if (version === 1) return length === 0 && [3, 4, 5, 8].includes(type);
  if (type === 3) return length === 4;
  if (type === 4 || type === 5) return length === 0;
  if (type === 8) return length === 8;
  return type === 10 && length >= 8 && length % 4 === 0;
}

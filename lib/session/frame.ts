/**
 * What a WebSocket message must be before anybody looks for envelopes in it.
 * @module
 */
import { ProtocolViolation } from "../errors.ts";
import { CLOSE } from "../protocol/mod.ts";

/**
 * The bytes of a WebSocket message.
 *
 * @throws {ProtocolViolation} if it is text, longer than allowed, or empty.
 */
export function bytesOf(data: Uint8Array | string, bytesMax: number): Uint8Array {
  if (typeof data === "string") throw new ProtocolViolation(CLOSE.unsupportedData, "only binary messages");
  if (data.length > bytesMax) throw new ProtocolViolation(CLOSE.messageTooBig, `at most ${bytesMax} bytes`);
  if (data.length > 0) return data;
  throw new ProtocolViolation(CLOSE.protocolError, "a message without an envelope");
}

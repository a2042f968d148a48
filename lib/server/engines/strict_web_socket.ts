/**
 * The `ws` package's WebSocket, which tells a peer that breaks the rules what it did, and remembers it.
 * @module
 */
// @ts-types="./ws.d.ts"
import { WebSocket } from "ws";

/** What a peer is told with the codes that the package closes with. */
const REASONS: Readonly<Record<number, string>> = {
  1002: "broken frames",
  1007: "text that is not UTF-8",
  1008: "a message in too many pieces",
  1009: "a message that is too long",
};

/** One connection. */
export class StrictWebSocket extends WebSocket {
  /** The code with which it was closed for what the peer did; `null` if it was not. */
  fault: number | null = null;

  /** Only the package itself calls this with a code and no reason: when the peer broke the rules. */
  override close(code?: number, reason?: string): void {
    if (code === undefined || reason !== undefined) return super.close(code, reason);
    this.fault = code;
    super.close(code, REASONS[code] ?? "against the rules of WebSockets");
  }
}

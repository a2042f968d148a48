/**
 * A client of a messaging-server, for browsers, Deno and Node. It knows the wire and nothing of the keys' contents.
 * @module
 */
export * from "./connection.ts";
export * from "./types.ts";
export { reconnectDelayMs, stayConnected } from "./reconnect.ts";

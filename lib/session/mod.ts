/**
 * Sessions: the server's side of open connections.
 * @module
 */
export type { SessionContext } from "./context.ts";
export { Session } from "./session.ts";
export type { Socket } from "./socket.ts";

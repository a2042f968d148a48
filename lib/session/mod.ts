/**
 * Sessions: the server's side of open connections.
 * @module
 */
export { Session, type SessionContext } from "./session.ts";
export type { Socket } from "./socket.ts";

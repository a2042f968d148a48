/**
 * Opening a WebSocket to a server: with the versions and the token that it needs, and a deadline.
 * @module
 */
import { type ConnectionOptions, DisconnectedError } from "./types.ts";

/**
 * Opens a socket.
 *
 * The token travels as a subprotocol, since browsers can set no headers; a version is offered beside it, since they
 * fail a connection on which nothing that they offered comes back.
 *
 * @throws {DisconnectedError} if the server refuses, or does not answer in time.
 */
export function openSocket(options: ConnectionOptions, deadlineMs: number): Promise<WebSocket> {
  const { url, userId, deviceId, token, version = 2 } = options;
  const versions = version === 1 ? ["messaging.v1"] : ["messaging.v2", "messaging.v1"];
  const protocols = [...versions, ...(token === undefined ? [] : [`bearer.${token}`])];
  const socket = new WebSocket(`${url}/${userId}/${deviceId}`, protocols);
  socket.binaryType = "arraybuffer";
  return new Promise((resolve, reject) => {
    const fail = (code: number, reason: string) => {
      clearTimeout(timer);
      reject(new DisconnectedError(code, reason));
    };
    const timer = setTimeout(() => {
      socket.close();
      fail(1006, "the server did not answer in time");
    }, deadlineMs);
    socket.onerror = (event) => {
      event.preventDefault();
      fail(1006, "message" in event && typeof event.message === "string" ? event.message : "refused");
    };
    socket.onclose = ({ code, reason }) => fail(code, reason);
    socket.onopen = () => {
      clearTimeout(timer);
      resolve(socket);
    };
  });
}

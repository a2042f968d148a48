/**
 * The bare relay that the server is measured against: the same frames from socket to socket, and nothing else.
 *
 * No storage, no tokens, no checks, no queues: it answers each UserMessage with an Ack and passes it on, one envelope a
 * WebSocket message, as the server does on version 1. It prints its URL and runs until it is killed.
 * @module
 */
import { allocateEnvelope, HEADER_BYTES, TYPE } from "../../lib/protocol/mod.ts";
import { parseUserId, USER_ID_BYTES, userIdFromBytes, userIdToBytes } from "../../lib/address.ts";

const ADDRESS_BYTES = USER_ID_BYTES + 4;

const sockets = new Map<string, WebSocket>();

function pass(socket: WebSocket, own: Uint8Array, frame: Uint8Array<ArrayBuffer>): void {
  if (frame[5] !== TYPE.userMessage) return;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  socket.send(allocateEnvelope(1, view.getUint32(1), TYPE.ack, 0));
  const to = `${userIdFromBytes(frame, HEADER_BYTES)}/${view.getUint32(HEADER_BYTES + USER_ID_BYTES)}`;
  frame.set(own, HEADER_BYTES);
  sockets.get(to)?.send(frame);
}

Deno.serve(
  { port: 0, hostname: "127.0.0.1", onListen: ({ port }) => console.log(`ws://127.0.0.1:${port}`) },
  (request) => {
    const [, user = "", device = ""] = new URL(request.url).pathname.split("/");
    const userId = parseUserId(user);
    if (userId === null) return new Response(null, { status: 400 });
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.binaryType = "arraybuffer";
    const own = new Uint8Array(ADDRESS_BYTES);
    own.set(userIdToBytes(userId));
    new DataView(own.buffer).setUint32(USER_ID_BYTES, Number(device));
    socket.onopen = () => sockets.set(`${userId}/${device}`, socket);
    socket.onmessage = ({ data }) => pass(socket, own, new Uint8Array(data));
    return response;
  },
);

/**
 * A server that opens WebSockets, and never says or hears anything after that: like a host that is gone.
 * @module
 */
import { createHash } from "node:crypto";

/** Listens until the end of its scope. */
export function handshakeServer() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.TcpConn[] = [];
  const hangUp = () => connections.splice(0).forEach((connection) => connection.close());
  const accepting = (async () => {
    for await (const connection of listener) {
      connections.push(connection);
      await shakeHands(connection);
    }
  })();
  return {
    url: `ws://127.0.0.1:${listener.addr.port}`,
    hangUp,
    async [Symbol.asyncDispose](): Promise<void> {
      hangUp();
      listener.close();
      await accepting;
    },
  };
}

async function shakeHands(connection: Deno.TcpConn): Promise<void> {
  const bytes = new Uint8Array(16_384);
  const count = await connection.read(bytes);
  const request = new TextDecoder().decode(bytes.subarray(0, count ?? 0));
  const key = /sec-websocket-key: *(\S+)/i.exec(request)?.[1] ?? "";
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  const lines = [
    "HTTP/1.1 101 Switching Protocols",
    "upgrade: websocket",
    "connection: Upgrade",
    `sec-websocket-accept: ${accept}`,
    "sec-websocket-protocol: messaging.v1",
  ];
  await connection.write(new TextEncoder().encode([...lines, "", ""].join("\r\n")));
}

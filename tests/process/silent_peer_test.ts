/** Peers that keep their TCP connection and say nothing: what they hold is bounded. */
import assert from "node:assert/strict";
import { handshake } from "../support/handshake.ts";
import { ProcessServer } from "../support/process_server.ts";
import { signTestToken } from "../support/server.ts";
import { converse } from "./member.ts";

const ATTEMPTS = 200;

/** How many connections the server says that it has. */
async function connectionCount(server: ProcessServer): Promise<number> {
  const metrics = await (await fetch(`${server.httpUrl}/metrics`)).text();
  return Number(/^messaging_connections (\d+)$/m.exec(metrics)?.[1]);
}

Deno.test("a user who never answers the close of a replaced connection can't take all connections", async () => {
  await using server = await ProcessServer.start({
    USER_CONNECTIONS_MAX: "2",
    CONNECTIONS_MAX: `${ATTEMPTS}`,
  });
  const userId = crypto.randomUUID();
  const headers = { authorization: `Bearer ${await signTestToken(userId)}` };
  using held = new DisposableStack();
  for (let i = 0; i < ATTEMPTS; i++) {
    const { upgraded } = await handshake(server.url, `/${userId}/1`, { headers });
    if (upgraded !== null) held.use(upgraded.conn);
  }
  await converse(server.url).catch(() => assert.fail("nobody else can connect any more"));
  const count = await connectionCount(server);
  assert.ok(count < ATTEMPTS / 2, `one user with a limit of 2 holds ${count} connections`);
});

/** Clients that are gone before they are answered: nothing of them stays in the server. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { requestText } from "../support/handshake.ts";
import { ProcessServer } from "../support/process_server.ts";
import { signTestToken } from "../support/server.ts";
import { converse } from "./member.ts";

const CLIENTS = 120;

/** So many at a time. */
const BATCH = 10;

/** More than the server opens and closes by itself; without care a quarter of the clients stays. */
const SPARE = 5;

const openFiles = (pid: number) => [...Deno.readDirSync(`/proc/${pid}/fd`)].length;

Deno.test("a client that ends its side at once, in the middle of the upgrade, costs no file descriptor", async () => {
  await using server = await ProcessServer.start();
  await converse(server.url);
  const before = openFiles(server.pid);
  const { hostname, port, host } = new URL(server.url);
  const userId = crypto.randomUUID();
  const authorization = `Bearer ${await signTestToken(userId)}`;
  const open: Deno.TcpConn[] = [];
  for (let i = 0; i < CLIENTS; i++) {
    const conn = await Deno.connect({ hostname, port: Number(port) });
    const text = requestText(host, `/${userId}/${i}`, { headers: { authorization } });
    await conn.write(new TextEncoder().encode(text));
    await conn.closeWrite();
    open.push(conn);
    // Refused, upgraded, or hung up. Where an answer never comes, it would be waited for in vain.
    const answered = conn.read(new Uint8Array(1_024)).catch(() => null);
    if (i % BATCH === BATCH - 1) {
      await Promise.race([
        answered,
        new Promise((resolve) => setTimeout(resolve, 500)),
      ]);
    }
  }
  for (const conn of open) conn.close();
  await eventually("the server has closed them all", () => openFiles(server.pid) <= before + SPARE)
    .catch(() => assert.fail(`${openFiles(server.pid) - before} descriptors are left of ${CLIENTS}`));
  await converse(server.url);
  assert.ok(!server.log.includes("legacy"), server.log);
});

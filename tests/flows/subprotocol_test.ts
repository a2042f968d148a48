/** The version that is chosen and echoed, and the token that never is. */
import assert from "node:assert/strict";
import { handshake } from "../support/handshake.ts";
import { newAddress } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** Connects with an offer, and gives the status and what came back as the subprotocol. */
async function offer(
  server: TestServer,
  subprotocols: string | null,
  authorization: string | null,
  userId = USER_ID,
): Promise<{ status: number; echo: string | null }> {
  const { status, headers, upgraded } = await handshake(server.url, `/${userId}/1`, {
    headers: { "sec-websocket-protocol": subprotocols, authorization },
  });
  upgraded?.conn.close();
  return { status, echo: headers.get("sec-websocket-protocol") };
}

const USER_ID = newAddress().userId;

Deno.test("the version is echoed, whatever is offered beside it and however the list is written", async () => {
  await using server = await startServer();
  const header = `Bearer ${await server.token(USER_ID)}`;
  for (
    const subprotocols of [
      "messaging.v1",
      "messaging.v1, messaging.v99",
      "messaging.v99,messaging.v1",
      "messaging.v99 ,  messaging.v1",
      "messaging.v1,bearer.abc",
      "bearer.abc, messaging.v1",
      "a,b,c,d,messaging.v1",
    ]
  ) {
    const expected = { status: 101, echo: "messaging.v1" };
    assert.deepEqual(await offer(server, subprotocols, header), expected, subprotocols);
  }
});

Deno.test("a client that offers messaging.v2 and messaging.v1 gets one that the server knows", async () => {
  await using server = await startServer();
  const header = `Bearer ${await server.token(USER_ID)}`;
  for (const subprotocols of ["messaging.v2, messaging.v1", "messaging.v1,messaging.v2"]) {
    const { status, echo } = await offer(server, subprotocols, header);
    assert.equal(status, 101);
    assert.match(echo ?? "", /^messaging\.v[12]$/);
  }
});

Deno.test("a client that offers no version gets version 1, and no echo", async () => {
  await using server = await startServer();
  const token = await server.token(USER_ID);
  assert.deepEqual(await offer(server, null, `Bearer ${token}`), { status: 101, echo: null });
  assert.deepEqual(await offer(server, `bearer.${token}`, null), { status: 101, echo: null });
});

Deno.test("a client that offers only versions that are not known is refused with 400", async () => {
  await using server = await startServer();
  const header = `Bearer ${await server.token(USER_ID)}`;
  for (const subprotocols of ["messaging.v99", "chat", "MESSAGING.V1", "messaging.v1x", "chat, bearer.abc"]) {
    assert.deepEqual(await offer(server, subprotocols, header), { status: 400, echo: null }, subprotocols);
  }
  const many = Array.from({ length: 17 }, (_, i) => `x${i}`).join(",");
  assert.equal((await offer(server, `${many},messaging.v1`, header)).status, 400);
});

Deno.test("a token in the subprotocols is taken, and never echoed", async () => {
  await using server = await startServer();
  const token = await server.token(USER_ID);
  for (const list of [`messaging.v1, bearer.${token}`, `bearer.${token},messaging.v1`]) {
    assert.deepEqual(await offer(server, list, null), { status: 101, echo: "messaging.v1" });
  }
  assert.equal((await offer(server, "messaging.v1, bearer.nonsense", null)).status, 401);
  assert.equal((await offer(server, "messaging.v1, bearer.", null)).status, 401);
});

Deno.test("the header wins over the subprotocol, also where it is bad", async () => {
  await using server = await startServer();
  const token = await server.token(USER_ID);
  const good = `messaging.v1, bearer.${token}`;
  const cases: [string, string, number][] = [
    [good, "Bearer nonsense", 401],
    [good, "Basic dXNlcjpwYXNz", 401],
    [good, "Bearer", 401],
    [good, `Bearer ${await server.token(crypto.randomUUID())}`, 403],
    ["messaging.v1, bearer.nonsense", `Bearer ${token}`, 101],
    ["messaging.v1, bearer.nonsense", `bearer   ${token}`, 101],
  ];
  for (const [subprotocols, authorization, status] of cases) {
    assert.equal((await offer(server, subprotocols, authorization)).status, status, authorization);
  }
});

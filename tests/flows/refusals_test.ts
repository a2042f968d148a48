/** Requests that are refused before the upgrade: which status, in which order, in which form. */
import assert from "node:assert/strict";
import { type Answer, handshake, type HandshakeOptions } from "../support/handshake.ts";
import { RawClient } from "../support/raw_client.ts";
import { connectRaw, newAddress } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";

/** Asks for a connection, and expects to be refused as the protocol says. */
async function refused(
  server: TestServer,
  status: number,
  path: string,
  options: HandshakeOptions = {},
): Promise<Answer> {
  const answer = await handshake(server.url, path, options);
  answer.upgraded?.conn.close();
  assert.equal(answer.status, status, `${options.method ?? "GET"} ${path}: ${answer.body}`);
  assert.match(answer.body, /^[^\n]+\n$/, "one line");
  const { error, message, ...others } = JSON.parse(answer.body);
  assert.match(error, /^[a-z_]+$/);
  assert.ok(typeof message === "string" && message.length > 10);
  assert.deepEqual(others, {});
  assert.match(answer.headers.get("content-type") ?? "", /^application\/json/);
  return answer;
}

/** Connects, and closes again. */
async function taken(server: TestServer, path: string, options: HandshakeOptions = {}): Promise<void> {
  const answer = await handshake(server.url, path, options);
  answer.upgraded?.conn.close();
  assert.equal(answer.status, 101, `${path}: ${answer.body}`);
}

async function authorized(server: TestServer, userId: string, deviceId?: number): Promise<HandshakeOptions> {
  return { headers: { authorization: `Bearer ${await server.token(userId, deviceId)}` } };
}

Deno.test("a path that does not have two parts is not found", async () => {
  await using server = await startServer();
  for (
    const path of ["/nothing", `/${USER}`, `/${USER}/`, `/${USER}/1/2`, `//1`, `/${USER}//`, `/${USER}/1//`]
  ) {
    await refused(server, 404, path);
  }
});

Deno.test("a malformed user ID or device ID is a bad address", async () => {
  await using server = await startServer();
  const users = ["bob", USER.replaceAll("-", ""), `{${USER}}`, `${USER}0`, USER.replace("-4b6e", "-1b6e")];
  for (const user of [...users, USER.replace("-8a57", "-ca57"), `urn:uuid:${USER}`]) {
    await refused(server, 400, `/${user}/1`);
  }
  for (
    const device of [
      "x",
      "-1",
      "+1",
      "01",
      "00",
      "1.0",
      "1e3",
      "0x1",
      "4294967296",
      "99999999999",
      "%31",
      "1%20",
    ]
  ) {
    await refused(server, 400, `/${USER}/${device}`);
  }
});

Deno.test("an address in any of its forms is taken", async () => {
  await using server = await startServer();
  const options = await authorized(server, USER);
  for (const path of [`/${USER}/0`, `/${USER.toUpperCase()}/4294967295`, `/${USER}/1/`, `/${USER}/1?x=/y`]) {
    await taken(server, path, options);
  }
});

Deno.test("a request that is no upgrade to version 13 is refused with 426 and what would do", async () => {
  await using server = await startServer();
  const path = `/${USER}/1`;
  const cases: HandshakeOptions[] = [
    { headers: { "upgrade": null, "connection": null } },
    { headers: { "upgrade": "h2c" } },
    { headers: { "connection": "keep-alive" } },
    { headers: { "sec-websocket-version": "12" } },
    { headers: { "sec-websocket-version": "8, 13" } },
    { headers: { "sec-websocket-version": null } },
    { headers: { "sec-websocket-key": null } },
    { headers: { "sec-websocket-key": "short" } },
    { headers: { "sec-websocket-key": btoa("fifteen bytes !") } },
    { method: "POST" },
    { method: "PUT" },
    { method: "DELETE" },
  ];
  for (const options of cases) {
    const { headers } = await refused(server, 426, path, options);
    assert.equal(headers.get("sec-websocket-version"), "13");
    assert.equal(headers.get("upgrade"), "websocket");
  }
});

Deno.test("names of headers' values are compared in any case, and in lists", async () => {
  await using server = await startServer();
  const { headers } = await authorized(server, USER);
  const upgrade = { "upgrade": "WebSocket", "connection": "keep-alive, UPGRADE" };
  await taken(server, `/${USER}/1`, { headers: { ...headers, ...upgrade } });
});

Deno.test("a token for another user or another device is forbidden", async () => {
  await using server = await startServer();
  await refused(server, 403, `/${USER}/1`, await authorized(server, crypto.randomUUID()));
  await refused(server, 403, `/${USER}/1`, await authorized(server, USER, 2));
  await refused(server, 403, `/${USER}/0`, await authorized(server, USER, 1));
  await taken(server, `/${USER}/1`, await authorized(server, USER, 1));
});

Deno.test("of several reasons the first in the order of the protocol is given", async () => {
  await using server = await startServer({ USER_CONNECTIONS_MAX: "1" });
  const user = newAddress();
  await using _first = await RawClient.connect(server, user);
  const ok = await authorized(server, user.userId);
  const other = await authorized(server, crypto.randomUUID());
  const unknown = { "sec-websocket-protocol": "messaging.v99" };
  await refused(server, 404, "/a/b/c", { method: "POST", headers: unknown });
  await refused(server, 400, "/a/b", { method: "POST" });
  await refused(server, 400, `/${user.userId}/2`, { method: "POST", headers: unknown });
  await refused(server, 426, `/${user.userId}/2`, { method: "POST" });
  await refused(server, 401, `/${user.userId}/2`);
  await refused(server, 403, `/${user.userId}/2`, other);
  const { headers } = await refused(server, 429, `/${user.userId}/2`, ok);
  assert.match(headers.get("retry-after") ?? "", /^[0-9]+$/);
});

Deno.test("beyond CONNECTIONS_MAX even a bad token is told 429, and room comes back", async () => {
  await using server = await startServer({ CONNECTIONS_MAX: "2" });
  await using first = await connectRaw(server);
  await using _second = await connectRaw(server);
  await refused(server, 426, `/${USER}/1`, { method: "POST" });
  await refused(server, 429, `/${USER}/1`);
  const { headers } = await refused(server, 429, `/${USER}/1`, await authorized(server, USER));
  assert.match(headers.get("retry-after") ?? "", /^[0-9]+$/);
  first.cut();
  const options = await authorized(server, USER);
  let status = 429;
  for (let i = 0; i < 200 && status === 429; i++) {
    const answer = await handshake(server.url, `/${USER}/1`, options);
    answer.upgraded?.conn.close();
    status = answer.status;
  }
  assert.equal(status, 101);
});

Deno.test("the limit of a user concerns that user alone, and not a connection that takes over", async () => {
  await using server = await startServer({ USER_CONNECTIONS_MAX: "2" });
  const first = newAddress();
  await using _one = await RawClient.connect(server, first);
  await using _two = await RawClient.connect(server, { ...first, deviceId: 2 });
  await assert.rejects(RawClient.connect(server, { ...first, deviceId: 3 }), /429/);
  await using _other = await connectRaw(server);
  await using _again = await RawClient.connect(server, first);
});

Deno.test("while the server stops a connection is refused with 503 and when to try again", async () => {
  await using server = await startServer();
  await using stalled = await connectRaw(server, { isStalled: true, isSilent: true });
  const drained = server.server.drain(); // takes a while, since that peer answers nothing
  await refused(server, 426, `/${USER}/1`, { method: "POST" });
  const { headers } = await refused(server, 503, `/${USER}/1`);
  assert.match(headers.get("retry-after") ?? "", /^[0-9]+$/);
  stalled.cut();
  await drained;
});

Deno.test("with AUTH_MODE=none a web page of another machine is forbidden, and any token is ignored", async () => {
  await using server = await startServer({ AUTH_MODE: "none" });
  for (
    const origin of ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost.evil"]
  ) {
    await refused(server, 403, `/${USER}/1`, { headers: { origin } });
  }
  for (const origin of ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:8080"]) {
    await taken(server, `/${USER}/1`, { headers: { origin } });
  }
  await taken(server, `/${USER}/1`, { headers: { authorization: "Bearer nonsense" } });
  await taken(server, `/${USER}/1`);
});

Deno.test("with tokens the Origin does not matter", async () => {
  await using server = await startServer();
  const { headers } = await authorized(server, USER);
  await taken(server, `/${USER}/1`, { headers: { ...headers, origin: "https://chat.example" } });
});

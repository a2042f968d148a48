/** New connections, as many and as fast as they may come: by remote address, by user, of one device, and in all. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Device, numberOf, numbersFrom } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { type Answer, handshake } from "../support/handshake.ts";
import { RawClient } from "../support/raw_client.ts";
import { joinRaw, newAddress, numbersAt } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

const PROXY = { TRUSTED_PROXIES: "127.0.0.0/8, ::1" };

/** Asks for a connection through the proxy that this machine is, from somewhere, and hangs up. */
async function knock(
  server: TestServer,
  forwardedFor: string,
  { userId, deviceId } = newAddress(),
): Promise<Answer> {
  const headers = {
    "authorization": `Bearer ${await server.token(userId)}`,
    "x-forwarded-for": forwardedFor,
  };
  const answer = await handshake(server.url, `/${userId}/${deviceId}`, { headers });
  answer.upgraded?.conn.close();
  return answer;
}

function connectFrom(server: TestServer, forwardedFor: string): Promise<RawClient> {
  return RawClient.connect(server, newAddress(), { headers: { "x-forwarded-for": forwardedFor } });
}

/** The Retry-After of a refusal. */
function retrySeconds(answer: Answer, status: number): number {
  assert.equal(answer.status, status, answer.body);
  assert.match(answer.headers.get("retry-after") ?? "", /^[1-9][0-9]*$/);
  assert.equal(answer.headers.get("connection"), "close");
  return Number(answer.headers.get("retry-after"));
}

Deno.test("REMOTE_CONNECTIONS_MAX holds for a remote, whatever it claims to be, and gives room back", async () => {
  await using server = await startServer({ ...PROXY, REMOTE_CONNECTIONS_MAX: "2" });
  await using first = await connectFrom(server, "198.51.100.1");
  await using _second = await connectFrom(server, "1.2.3.4, 198.51.100.1");
  retrySeconds(await knock(server, "198.51.100.1"), 429);
  retrySeconds(await knock(server, "5.6.7.8, 198.51.100.1, 127.0.0.9"), 429);
  assert.equal((await knock(server, "198.51.100.2")).status, 101);
  first.cut();
  await eventually("room", async () => (await knock(server, "198.51.100.1")).status === 101);
});

Deno.test("REMOTE_CONNECTIONS_MAX counts all addresses of an IPv6 subscriber as one", async () => {
  await using server = await startServer({ ...PROXY, REMOTE_CONNECTIONS_MAX: "1" });
  await using _client = await connectFrom(server, "2001:db8:1:1::1");
  retrySeconds(await knock(server, "2001:db8:1:1:ffff::2"), 429);
  assert.equal((await knock(server, "2001:db8:1:2::1")).status, 101);
});

Deno.test("without TRUSTED_PROXIES nobody is believed who it comes from, and this machine is not limited", async () => {
  await using server = await startServer({ REMOTE_CONNECTIONS_MAX: "1" });
  await using _one = await connectFrom(server, "198.51.100.1");
  await using _two = await connectFrom(server, "198.51.100.1");
});

Deno.test("RATE_REMOTE_CONNECTIONS: a flood from one remote takes nothing from the others", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({
    ...PROXY,
    RATE_REMOTE_CONNECTIONS: "0.1/s:3",
    RATE_CONNECTIONS: "0.001/s:10",
  }, { clock });
  for (let i = 0; i < 3; i++) assert.equal((await knock(server, "198.51.100.1")).status, 101);
  let seconds = 0;
  for (let i = 0; i < 30; i++) seconds = retrySeconds(await knock(server, "198.51.100.1"), 429);
  assert.ok(seconds >= 9 && seconds <= 10, `${seconds}`);
  for (let i = 0; i < 3; i++) assert.equal((await knock(server, "198.51.100.2")).status, 101);
  clock.advance(seconds * 1_000);
  assert.equal((await knock(server, "198.51.100.1")).status, 101);
});

Deno.test("RATE_CONNECTIONS: what is too much at once gets 503, and open connections notice nothing", async () => {
  await using server = await startServer({ RATE_CONNECTIONS: "0.001/s:3" });
  await using bob = await Device.join(server);
  await using alice = await Device.connect(server);
  assert.equal((await knock(server, "")).status, 101);
  const seconds: number[] = [];
  for (let i = 0; i < 20; i++) seconds.push(retrySeconds(await knock(server, ""), 503));
  assert.ok(new Set(seconds).size > 1, `${seconds}`); // nobody is told to come with everybody else
  await alice.send(bob.address, 1);
  await bob.untilNumbers([1]);
});

Deno.test("RATE_USER_CONNECTIONS: one user that connects in a storm holds up itself alone", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ RATE_USER_CONNECTIONS: "0.1/s:4" }, { clock });
  const { userId } = newAddress();
  // Any device ID will do for a token of the user, so the limit is not by device.
  for (let deviceId = 0; deviceId < 4; deviceId++) {
    assert.equal((await knock(server, "", { userId, deviceId })).status, 101);
  }
  const seconds = retrySeconds(await knock(server, "", { userId, deviceId: 9 }), 429);
  assert.equal((await knock(server, "")).status, 101);
  clock.advance(seconds * 1_000);
  assert.equal((await knock(server, "", { userId, deviceId: 9 })).status, 101);
});

Deno.test("a stranger without a token is told 401 for a user whose rate is used up, as for any other", async () => {
  await using server = await startServer({ RATE_USER_CONNECTIONS: "0.001/s:1" });
  const address = newAddress();
  await knock(server, "", address);
  const answer = await handshake(server.url, `/${address.userId}/1`, {});
  assert.equal(answer.status, 401);
});

Deno.test("two installations that take one device from each other are slowed, and no message is lost", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ RATE_TAKEOVERS: "0.2/s:3" }, { clock });
  const owner = await joinRaw(server);
  await using alice = await Device.connect(server);
  await using installations = new AsyncDisposableStack();
  let last = installations.use(owner);
  const seen = new Set<number>();
  let sent = 0;
  let refused = 0;
  // Each connects again as soon as it is thrown out, and does as it is told when it is refused.
  for (let takeovers = 0; takeovers < 8;) {
    const next = await RawClient.connect(server, owner.address).catch((error) => String(error));
    if (typeof next === "string") {
      assert.match(next, /refused: 429/);
      assert.equal(last.isClosed, false, "whoever is connected stays while the other one is refused");
      refused++;
      clock.advance(5_000);
    } else {
      takeovers++;
      assert.equal((await last.closed).code, 4409);
      last = installations.use(next);
    }
    for (const _ of [0, 1]) await alice.send(owner.address, sent++);
    await eventually("the newest message", () => numbersAt(last).includes(sent - 1));
    for (const { sequence, ciphertext } of last.messages) {
      seen.add(numberOf(ciphertext));
      if (numberOf(ciphertext) % 3 > 0) last.acknowledge(sequence); // the others come again
    }
  }
  assert.equal(refused, 5, "after three takeovers there is one every five seconds");
  assert.deepEqual([...seen].toSorted((a, b) => a - b), numbersFrom(0, sent));
});

Deno.test("a device that connects again after its connection ended is no takeover", async () => {
  await using server = await startServer({ RATE_TAKEOVERS: "0.001/s:1" });
  const address = newAddress();
  for (let i = 0; i < 5; i++) {
    const client = await RawClient.connect(server, address);
    client.cut();
    await eventually("the end", () => server.server.connectionCount === 0);
  }
});

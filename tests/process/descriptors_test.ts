/** No file descriptors left: connections are refused in time, and should all be gone, the server listens again. */
import assert from "node:assert/strict";
import { numbersFrom } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { type Answer, handshake } from "../support/handshake.ts";
import { ProcessServer } from "../support/process_server.ts";
import { signTestToken } from "../support/server.ts";
import { converse, Member } from "./member.ts";

/** How long the server may take to notice, and to listen again. */
const RECOVERY_MS = 20_000;

/** Connections that the tests hold, cut with their scope. */
class Held implements Disposable {
  readonly #conns: Deno.Conn[] = [];

  add(conn: Deno.Conn): void {
    this.#conns.push(conn);
  }

  get count(): number {
    return this.#conns.length;
  }

  [Symbol.dispose](): void {
    for (const conn of this.#conns.splice(0)) conn.close();
  }
}

/** Lets the server have so many descriptors more than it has now. */
async function allowMore(server: ProcessServer, more: number): Promise<void> {
  const limit = Array.from(Deno.readDirSync(`/proc/${server.pid}/fd`)).length + more;
  const args = ["--pid", `${server.pid}`, `--nofile=${limit}:`];
  const { success } = await new Deno.Command("prlimit", { args }).output();
  assert.ok(success, "prlimit");
}

async function connect(server: ProcessServer): Promise<Answer> {
  const userId = crypto.randomUUID();
  const headers = { authorization: `Bearer ${await signTestToken(userId)}` };
  return await handshake(server.url, `/${userId}/1`, { headers });
}

/** Sends a number, and waits until it has come. */
async function sendOne(alice: Member, bob: Member, n: number): Promise<void> {
  await alice.send(bob.address, [n]);
  await eventually(`number ${n}`, () => bob.inbox.at(-1) === n);
}

Deno.test("before descriptors run out connections are refused with 503, and the others go on", async () => {
  await using server = await ProcessServer.start();
  await using alice = await Member.join(server.url);
  await using bob = await Member.join(server.url);
  await sendOne(alice, bob, 0);
  await allowMore(server, 32 + 40);
  using held = new Held();
  let refused: Answer | null = null;
  while (refused === null && held.count < 100) {
    const answer = await connect(server);
    if (answer.upgraded === null) refused = answer;
    else held.add(answer.upgraded.conn);
  }
  assert.equal(refused?.status, 503);
  assert.match(refused.headers.get("retry-after") ?? "", /^[0-9]+$/);
  assert.ok(held.count > 20, `${held.count} were taken`);
  for (const n of numbersFrom(1, 20)) {
    assert.equal((await connect(server)).status, 503);
    await sendOne(alice, bob, n);
  }
  held[Symbol.dispose]();
  await eventually("room again", async () => {
    const answer = await connect(server);
    answer.upgraded?.conn.close();
    return answer.status === 101;
  });
  assert.doesNotMatch(server.log, /listener was lost/);
});

Deno.test("a listener that is lost for want of descriptors comes back, and no connection notices", async () => {
  await using server = await ProcessServer.start();
  await using alice = await Member.join(server.url);
  await using bob = await Member.join(server.url);
  await sendOne(alice, bob, 0);
  await allowMore(server, 32 + 20);
  {
    // Half-open: nothing is asked, so nothing can be refused.
    using held = new Held();
    const { hostname, port } = new URL(server.url);
    const hold = () =>
      Deno.connect({ hostname, port: Number(port) }).then((conn) => held.add(conn), () => {});
    await eventually("the loss of the listener", async () => {
      if (held.count < 100) await hold();
      return /listener was lost/.test(server.log);
    }, RECOVERY_MS);
    for (const n of numbersFrom(1, 20)) await sendOne(alice, bob, n);
  }
  await eventually("a listener", () => converse(server.url).then(() => true, () => false), RECOVERY_MS);
  await sendOne(alice, bob, 21);
  const metrics = await (await fetch(`${server.httpUrl}/metrics`)).text();
  assert.match(metrics, /^messaging_listeners_lost_total [1-9]/m);
  assert.deepEqual(bob.inbox, numbersFrom(0, 22));
  assert.equal((await server.stop()).code, 0);
});

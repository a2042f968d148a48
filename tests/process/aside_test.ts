/** The aside command, and the counts behind it: they outlive a kill -9, and the operator sees what they led to. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { Peer } from "../support/peer.ts";
import { ProcessServer, runProgram } from "../support/process_server.ts";

/** Connections on which a message may be the oldest and not be dealt with; a kill may take one count along. */
const ATTEMPTS = 10;

async function isMoved(server: ProcessServer): Promise<boolean> {
  const text = await (await fetch(`${server.httpUrl}/metrics`)).text();
  return /^messaging_messages_set_aside_total 1$/m.test(text);
}

/** What the command lists beside the running server. */
async function listed(server: ProcessServer): Promise<{ lines: Record<string, unknown>[]; note: string }> {
  const { code, stdout, stderr } = await runProgram(["aside"], { KV_PATH: server.path });
  assert.equal(code, 0, stderr);
  return { lines: stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line)), note: stderr };
}

Deno.test("what a client refuses ten times is moved behind, also over a kill -9, and aside lists it until it is acknowledged", async () => {
  await using server = await ProcessServer.start();
  const bob = await Peer.join(server);
  await bob.leave();
  const alice = await Peer.connect(server);
  const sender = alice.address;
  await alice.send(bob.address, 0);
  await alice.leave();
  assert.deepEqual(await listed(server), { lines: [], note: "0 messages set aside\n" });
  let connections = 0;
  while (!await isMoved(server)) {
    assert.ok(++connections <= ATTEMPTS + 2, "it should have been moved by now");
    const again = await bob.again(server, { acknowledges: false });
    await again.untilNumbers([0]);
    again.refuseNumber(0);
    await again.settle();
    await again.vanish();
    if (connections === 5) {
      await server.kill();
      await server.start();
    }
  }
  assert.ok(connections >= ATTEMPTS, `${connections} connections`);
  const { lines, note } = await listed(server);
  assert.equal(note, "1 message set aside\n");
  const { messageId, accepted, expires, ...rest } = lines[0] ?? {};
  assert.deepEqual(rest, { to: bob.address, from: sender, bytes: 4 });
  assert.match(String(messageId), /^[0-9a-f]{32}$/);
  assert.equal(Date.parse(String(expires)) - Date.parse(String(accepted)), 30 * 86_400_000);
  assert.match(server.log, /set aside: device 1 never dealt with it/);
  assert.ok(!server.log.includes(bob.address.userId), "the log names no user");
  const last = await bob.again(server);
  await last.untilNumbers([0]);
  await last.settle();
  await eventually("it is gone", async () => (await listed(server)).lines.length === 0, 60_000);
  await last.leave();
});

Deno.test("aside has nothing to list in a database that is in the memory of another process", async () => {
  const { code, stdout, stderr } = await runProgram(["aside"], { KV_PATH: ":memory:" });
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /KV_PATH=:memory:/);
});

/** Thousands of devices that connect at once, as after a restart: all are greeted, and nobody's read is late. */
import assert from "node:assert/strict";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import { Peer } from "../support/peer.ts";
import { startServer } from "../support/server.ts";

const DEVICES = 2_000;

Deno.test("when 2,000 devices connect at once, each learns what it has, and no read is late", async () => {
  const records: LogRecord[] = [];
  await configure({
    reset: true,
    sinks: { records: (record) => void records.push(record) },
    loggers: [
      { category: ["messaging"], lowestLevel: "warning", sinks: ["records"] },
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: [] },
    ],
  });
  try {
    await using server = await startServer();
    await using bob = await Peer.join(server);
    await using alice = await Peer.join(server);
    const all = await Promise.all(Array.from({ length: DEVICES }, () => Peer.connect(server)));
    await alice.send(bob.address, 1); // others are served meanwhile
    for (const peer of all) assert.equal((await peer.hello()).registrationId, null);
    for (const peer of all) assert.equal(await peer.queueEmpty(), 0);
    await Promise.all(all.map((peer) => peer.vanish()));
    assert.deepEqual(records.map(({ rawMessage }) => rawMessage), []);
  } finally {
    await reset();
  }
});

/** Order across restarts: what was accepted later comes later, whatever the clock did in between. */
import assert from "node:assert/strict";
import { numbersFrom } from "../support/device.ts";
import { ProcessServer } from "../support/process_server.ts";
import { startServer } from "../support/server.ts";
import { Member } from "./member.ts";

const HOUR_MS = 3_600_000;

/** Up to when ids are reserved; the server must not run. */
async function readMark(path: string): Promise<number> {
  using kv = await Deno.openKv(path);
  const { value } = await kv.get(["clock"]);
  assert.ok(value instanceof Deno.KvU64);
  return Number(value.value);
}

/** Makes of a database what a process would have left behind whose clock was an hour ahead. */
async function moveIntoFuture(path: string): Promise<void> {
  using kv = await Deno.openKv(path);
  const { value: mark } = await kv.get(["clock"]);
  assert.ok(mark instanceof Deno.KvU64);
  await kv.set(["clock"], new Deno.KvU64(mark.value + BigInt(HOUR_MS)));
  for await (const { key, value } of kv.list({ prefix: ["inbox"] })) {
    const id = key.at(-1);
    assert.ok(id instanceof Uint8Array);
    // A UUID of version 7 begins with 48 bits of milliseconds.
    const later = new Uint8Array(id);
    const view = new DataView(later.buffer);
    const ms = view.getUint16(0) * 2 ** 32 + view.getUint32(2) + HOUR_MS;
    view.setUint16(0, Math.floor(ms / 2 ** 32));
    view.setUint32(2, ms % 2 ** 32);
    await kv.atomic().delete(key).set([...key.slice(0, -1), later], value).commit();
  }
}

/** Sends these numbers to a device that is away. */
async function leave(
  server: { readonly url: string },
  to: Member["address"],
  numbers: readonly number[],
): Promise<void> {
  await using sender = await Member.connect(server.url);
  await sender.send(to, numbers);
}

for (const end of ["SIGTERM", "SIGKILL"] as const) {
  Deno.test(`messages keep their order when the clock was an hour ahead before a ${end}`, async () => {
    await using server = await ProcessServer.start();
    const recipient = await Member.join(server.url);
    const { address } = recipient;
    await recipient.connection.close();
    await leave(server, address, numbersFrom(0, 20));
    await server.stop(end);
    await moveIntoFuture(server.path);
    // Two more processes, whose clocks are right: what they accept comes later all the same.
    for (const first of [20, 40]) {
      await server.start();
      await leave(server, address, numbersFrom(first, 20));
      await server.stop(end);
    }
    await server.start();
    await leave(server, address, numbersFrom(60, 20));
    await using again = await Member.connect(server.url, address);
    await leave(server, address, numbersFrom(80, 20));
    assert.deepEqual(await again.received(100), numbersFrom(0, 100));
  });
}

Deno.test("restarts do not carry the ids further and further into the future", async () => {
  await using server = await ProcessServer.start();
  const leads: number[] = [];
  for (let i = 0; i < 5; i++) {
    await server.kill();
    leads.push(await readMark(server.path) - Date.now());
    await server.start();
  }
  // Ids are reserved a minute ahead; a server that is started over and over must not reserve another one every time.
  for (const lead of leads) assert.ok(lead > 0 && lead < 90_000, `ahead by ${leads.join(", ")} ms`);
});

/** A database that two servers share, as processes do over KV Connect: no server closes it. */
async function sharedDatabase(): Promise<{ kv: Deno.Kv } & Disposable> {
  const kv = await Deno.openKv(":memory:");
  return {
    kv: new Proxy(kv, {
      get: (target, name) => {
        const value = Reflect.get(target, name);
        if (name === "close") return () => {};
        return typeof value === "function" ? value.bind(target) : value;
      },
    }),
    [Symbol.dispose]: () => kv.close(),
  };
}

Deno.test("messages that two servers on one database accept in turn come in that order", async () => {
  using shared = await sharedDatabase();
  await using first = await startServer({}, shared);
  await using second = await startServer({}, shared);
  const recipient = await Member.join(first.url);
  const { address } = recipient;
  await recipient.connection.close();
  for (let n = 0; n < 20; n++) await leave(n % 2 === 0 ? second : first, address, [n]);
  await using again = await Member.connect(first.url, address);
  assert.deepEqual(await again.received(20), numbersFrom(0, 20));
});

/** Somebody without a token of a user: nothing about that user is looked up, so no time and no answer tells anything. */
import assert from "node:assert/strict";
import { Device } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { handshake } from "../support/handshake.ts";
import { startServer } from "../support/server.ts";

/** A database that counts the reads of what belongs to one user. */
function counting(kv: Deno.Kv, userId: string): { readonly kv: Deno.Kv; readonly reads: { count: number } } {
  const reads = { count: 0 };
  const watched = new Proxy(kv, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        // Keys of every user's rows hold its ID.
        const isRead = name === "get" || name === "getMany" || name === "list" || name === "watch";
        if (isRead && Deno.inspect(args, { depth: 10 }).includes(userId)) reads.count++;
        return value.apply(target, args);
      };
    },
  });
  return { kv: watched, reads };
}

Deno.test("whoever has no token of a user is told the same of one that exists and one that does not, unseen", async () => {
  const [known, unknown] = [crypto.randomUUID(), crypto.randomUUID()];
  using database = await Deno.openKv(":memory:");
  {
    await using before = await startServer({}, { kv: database });
    await using _device = await Device.join(before, { userId: known });
  }
  const { kv, reads } = counting(database, known);
  await using server = await startServer({}, { kv });
  const presented: Readonly<Record<string, string | null>> = {
    "no token": null,
    "no JWT": "Bearer nonsense",
    "another user's": `Bearer ${await server.token(crypto.randomUUID())}`,
    "an expired one": `Bearer ${await server.token(known, undefined, -60_000)}`,
    "one that is signed otherwise": `Bearer ${(await server.token(known)).slice(0, -4)}AAAA`,
  };
  for (const [what, authorization] of Object.entries(presented)) {
    const answers = [];
    for (const userId of [known, unknown, known]) {
      const { status, body, headers } = await handshake(server.url, `/${userId}/1`, {
        headers: { authorization },
      });
      answers.push([status, body, [...headers.keys()].sort()]);
    }
    assert.ok([401, 403].includes(Number(answers[0]?.[0])), what);
    assert.deepEqual(answers[1], answers[0], what);
    assert.deepEqual(answers[2], answers[0], what);
  }
  assert.equal(reads.count, 0, "something about the user was read");
  await using _device = await Device.connect(server, { userId: known });
  await eventually("what its owner leads to is counted", () => reads.count > 0);
});

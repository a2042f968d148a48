/** Tests of deletions that storage did not take, and which are repeated. */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import type { MailboxEntry } from "../../lib/store/mod.ts";
import { append, newAddress, newMessage, openStore, type TestStore } from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

const MANY = 300;
const EPOCH = "epoch";

/** A mailbox with many messages, none of whose deletions storage took. */
async function failDeletions(store: TestStore, scripted: ScriptedKv): Promise<[Address, MailboxEntry[]]> {
  const address = newAddress();
  const messages = Array.from({ length: MANY }, () => newMessage(store));
  const entries = await Promise.all(messages.map((message) => append(store, address, EPOCH, message)));
  scripted.onCommit = () => Promise.reject(new TypeError("reset"));
  const failed = entries.map((entry) =>
    new Promise<boolean>((resolve) => {
      store.mailboxes.remove(address, entry, (error) => resolve(error !== null));
    })
  );
  assert.deepEqual(await Promise.all(failed), entries.map(() => true));
  scripted.onCommit = (commit) => commit.run();
  return [address, entries];
}

const countOf = async (store: TestStore, address: Address) => (await store.waiting.read(address, EPOCH)).open;

for (const isShared of [false, true]) {
  const where = isShared ? "a shared database" : "a file";
  Deno.test(`removeAgain() deletes and counts what was not deleted, once, on ${where}`, async () => {
    await using scripted = await ScriptedKv.open();
    await using store = await openStore({ kv: scripted.kv, isShared });
    const [address, entries] = await failDeletions(store, scripted);
    assert.equal((await countOf(store, address)).messages, MANY);
    for (let times = 0; times < 2; times++) {
      await Promise.all(entries.map((entry) => store.setAside.remove(address, entry, false)));
      assert.deepEqual(await countOf(store, address), { messages: 0, bytes: 0 });
    }
  });
}

Deno.test("removeAgain() of many on a file shares commits: it must not hold up a storage that is behind", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const [address, entries] = await failDeletions(store, scripted);
  const before = scripted.commits.length;
  await Promise.all(entries.map((entry) => store.setAside.remove(address, entry, false)));
  const commits = scripted.commits.length - before;
  assert.ok(commits < MANY / 5, `${commits} commits for ${MANY} deletions`);
});

/**
 * `deno bench scripts/bench/micro`: a mailbox on a file: what comes, what is read, what goes.
 * @module
 */
import type { StoredMessage } from "../../../lib/domain.ts";
import type { MailboxEntry } from "../../../lib/store/mod.ts";
import { openTemporaryStore } from "./temporary_store.ts";

const { mailboxes, ids } = await openTemporaryStore();
const from = { userId: crypto.randomUUID(), deviceId: 1 };
const ciphertext = crypto.getRandomValues(new Uint8Array(300));
const EPOCH = "0123456789abcdef";

/** What one call reads or writes. */
const PAGE = 256;

const newAddress = () => ({ userId: crypto.randomUUID(), deviceId: 1 });

function newMessage(): StoredMessage {
  const timestamp = Date.now();
  return {
    id: ids.next(),
    from,
    messageId: crypto.getRandomValues(new Uint8Array(16)),
    timestamp,
    expiresAt: timestamp + 86_400_000,
    transient: false,
    ciphertext,
  };
}

/** Does something with each of many, and waits until all are durable. */
function settleAll<T>(
  items: readonly T[],
  begin: (item: T, settle: (error: unknown) => void) => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let open = items.length;
  for (const item of items) {
    begin(item, (error) => {
      if (error !== null) reject(error);
      else if (--open === 0) resolve();
    });
  }
  return promise;
}

async function appendMany(to: ReturnType<typeof newAddress>, count: number): Promise<MailboxEntry[]> {
  const entries: MailboxEntry[] = [];
  const messages = Array.from({ length: count }, newMessage);
  await settleAll(messages, (message, settle) => {
    entries.push(mailboxes.append(to, EPOCH, message, { addition: null, ring: null }, settle));
  });
  return entries;
}

const inbox = newAddress();
Deno.bench(`append() ${PAGE} in one turn, until durable`, { group: "mailbox" }, async () => {
  await appendMany(inbox, PAGE);
});

for (const depth of [PAGE, 10_000]) {
  const reader = newAddress();
  await appendMany(reader, depth);
  Deno.bench(`page() ${PAGE} of ${depth}`, { group: "mailbox" }, async () => {
    await mailboxes.page(reader, EPOCH, PAGE, () => true);
  });
}

const outbox = newAddress();
Deno.bench(`append() and remove() ${PAGE}, until durable`, { group: "mailbox" }, async () => {
  const entries = await appendMany(outbox, PAGE);
  await settleAll(entries, (entry, settle) => mailboxes.remove(outbox, entry, settle));
});

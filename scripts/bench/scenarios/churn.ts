/**
 * B8: what is left in memory and in the database when devices come and go.
 * @module
 */
import { TYPE } from "../../../lib/protocol/mod.ts";
import { ackOf, makeAck, MessageTemplate, refusalText } from "../envelopes.ts";
import { connectPeer, forEachOf } from "../peers.ts";
import { heapKib, settledKib, wait } from "../process_figures.ts";
import { databasePath, type Folder, makeFolder, startServer, type Target } from "../processes.ts";
import { atMost, figure, type Findings } from "../report.ts";
import { on, type Scenario } from "../scenario.ts";
import { fill, makeUsers } from "../seed.ts";

/** How many devices are connected, and how many sends under way, at the same time. */
const AT_A_TIME = 50;

/** After which rounds it is looked what is left: the first two fill caches. */
const BASE_ROUND = 2;

const RECEIVE_MS = 10_000;

/** Sends one message to each. */
async function sendToAll(
  target: Target,
  from: string,
  users: readonly string[],
  ciphertextBytes: number,
): Promise<void> {
  let answered: () => void = () => {};
  const sender = await connectPeer(
    target,
    from,
    () => (type, _sequence, bytes, at, length) => {
      if (type === TYPE.error) throw new Error(`refused: ${refusalText(2, bytes, at, length)}`);
      if (type === TYPE.ack) answered();
    },
  );
  for (let i = 0; i < users.length; i += AT_A_TIME) {
    const portion = users.slice(i, i + AT_A_TIME);
    let open = portion.length;
    const { promise, resolve } = Promise.withResolvers<void>();
    answered = () => --open === 0 && resolve();
    for (const user of portion) sender.send(new MessageTemplate(2, user, ciphertextBytes).next());
    await Promise.race([promise, wait(RECEIVE_MS)]);
  }
  await sender.close();
}

/** Connects, receives one message, acknowledges it, leaves. */
async function visit(target: Target, userId: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), RECEIVE_MS);
  const device = await connectPeer(target, userId, (socket) => (type, sequence) => {
    if (type !== TYPE.userMessage) return;
    socket.send(ackOf(makeAck(2), sequence));
    resolve(true);
  }, { bufferBytes: 2_048 });
  const hasReceived = await promise;
  clearTimeout(timer);
  await device.close();
  return hasReceived;
}

/** Entries of the database by the first part of their keys, counted beside the server. */
async function countEntries(folder: Folder): Promise<Map<string, number>> {
  const kv = await Deno.openKv(databasePath(folder));
  const counts = new Map<string, number>();
  try {
    for await (const { key } of kv.list({ prefix: [] }, { batchSize: 500 })) {
      const kind = String(key[0]);
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
  } finally {
    kv.close();
  }
  return counts;
}

/** All but the sends of the last hour, which are kept on purpose. */
function withoutAccepted(counts: ReadonlyMap<string, number>): number {
  return [...counts].reduce((sum, [kind, count]) => kind === "accepted" ? sum : sum + count, 0);
}

const format = (counts: ReadonlyMap<string, number>) =>
  [...counts].map(([kind, count]) => `${kind} ${count}`).join(", ");

/** Devices that come and go. */
export const churn: Scenario = {
  title: "devices come and go: connect, receive one message, leave",
  async run({ settings, progress }): Promise<Findings> {
    const { devices, rounds, settleMs } = settings.churn;
    const users = makeUsers(devices);
    const from = crypto.randomUUID();
    const folder = makeFolder();
    await fill(folder, { devices: users.map((userId) => ({ userId })) });
    return await on(startServer(folder, true), async (target) => {
      let missed = 0;
      const looks: { kib: number; heap: number; entries: Map<string, number> }[] = [];
      for (let round = 1; round <= rounds; round++) {
        await sendToAll(target, from, users, settings.ciphertextBytes);
        await forEachOf(users, AT_A_TIME, async (user) => {
          if (!await visit(target, user)) missed++;
        });
        if (round !== BASE_ROUND && round !== rounds) continue;
        const kib = await settledKib(target, settleMs);
        const heap = await heapKib(target);
        const entries = await countEntries(folder);
        progress(
          `B8 round ${round}: ${(kib / 1_024).toFixed(1)} MiB, JavaScript's heap ${
            (heap / 1_024).toFixed(1)
          } MiB, ${withoutAccepted(entries)} entries`,
        );
        looks.push({ kib, heap, entries });
      }
      const [base, end] = looks;
      if (base === undefined || end === undefined) throw new Error("too few rounds");
      const ratio = withoutAccepted(end.entries) / withoutAccepted(base.entries);
      return {
        figures: [
          figure(
            `memory after round ${rounds} ÷ after round ${BASE_ROUND}`,
            "×",
            [end.kib / base.kib],
            atMost(1.05),
          ),
          figure("JavaScript's heap, the same", "×", [end.heap / base.heap]),
          figure(`database entries, the same, without accepted sends`, "×", [ratio], atMost(1.05)),
          figure("memory at the end, after a collection", "MiB", [end.kib / 1_024]),
          figure("messages that did not come within 10 s", "messages", [missed], atMost(0)),
        ],
        notes: [
          `${devices} devices, ${rounds} rounds, ${AT_A_TIME} at a time`,
          `entries after round ${BASE_ROUND}: ${format(base.entries)}`,
          `entries after round ${rounds}: ${format(end.entries)}`,
          "accepted sends are kept for an hour, so that a repeat is stored once: they grow with the messages",
        ],
      };
    });
  },
};

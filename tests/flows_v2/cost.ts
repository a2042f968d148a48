/**
 * Measures what sends cost: `deno run -A tests/flows_v2/cost.ts`.
 *
 * Each kind of send goes from eight connections to eight users at a server process on a file, whose devices are offline;
 * told are sends a second and the processor time of the server for one, beside those of a UserMessage of version 2.
 * @module
 */
import { Peer } from "../support/peer.ts";
import { copyFor, numbered, range, sendWith } from "../support/peer_keys.ts";
import { ProcessServer } from "../support/process_server.ts";
import type { ClientMessage } from "../../lib/protocol/mod.ts";

const PAIRS = 8;
const BYTES = 512;
const ROUNDS = 5;

/** One sender and the user it writes to, who has so many devices. */
interface Pair {
  readonly sender: Peer;
  readonly userId: string;
  readonly all: Readonly<Record<number, number>>;
}

async function makePairs(server: ProcessServer, version: 1 | 2, devices: number): Promise<Pair[]> {
  return await Promise.all(
    range(PAIRS).map(async () => {
      const userId = crypto.randomUUID();
      const all: Record<number, number> = {};
      for (const deviceId of range(devices, 1)) {
        const device = await Peer.join(server, { userId, deviceId, registrationId: deviceId, preKeys: [] });
        await device.leave();
        all[deviceId] = deviceId;
      }
      return { sender: await Peer.connect(server, { version }), userId, all };
    }),
  );
}

/** The processor time of the server so far, in milliseconds. */
async function cpuMs(server: ProcessServer): Promise<number> {
  const fields = (await Deno.readTextFile(`/proc/${server.pid}/stat`)).split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Sends so many from each sender, `together` at a time; sends a second, and microseconds of the server for each. */
async function measure(
  server: ProcessServer,
  pairs: readonly Pair[],
  count: number,
  together: number,
  make: (pair: Pair, n: number) => ClientMessage,
): Promise<[number, number]> {
  const [startedAt, cpuBefore] = [performance.now(), await cpuMs(server)];
  await Promise.all(pairs.map(async (pair) => {
    for (let n = 0; n < count; n += together) {
      await Promise.all(pair.sender.askTogether(range(together).map((i) => make(pair, n + i))));
    }
  }));
  const sends = count * pairs.length;
  const perSecond = sends / ((performance.now() - startedAt) / 1_000);
  return [perSecond, (await cpuMs(server) - cpuBefore) * 1_000 / sends];
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

await using server = await ProcessServer.start({
  MAILBOX_MESSAGES_MAX: "8000000",
  MAILBOX_BYTES_MAX: "16GiB",
});
const one = ({ userId }: Pair, n: number) => sendWith({ userId, deviceId: 1 }, numbered(n, BYTES));
const every = ({ userId, all }: Pair, n: number) => copyFor(userId, all, numbered(n, BYTES));
const kinds = {
  "UserMessage v2, 256 at a time": { version: 2, devices: 1, count: 4_096, together: 256, make: one },
  "UserMessage v1, 256 at a time": { version: 1, devices: 1, count: 4_096, together: 256, make: one },
  "UserMessage v2, one at a time": { version: 2, devices: 1, count: 200, together: 1, make: one },
  "UserMessage v1, one at a time": { version: 1, devices: 1, count: 200, together: 1, make: one },
  "UserMessages to 1 device": { version: 2, devices: 1, count: 200, together: 1, make: every },
  "UserMessages to 5 devices": { version: 2, devices: 5, count: 200, together: 1, make: every },
  "UserMessages to 50 devices": { version: 2, devices: 50, count: 100, together: 1, make: every },
} as const;
const figures = new Map<string, [number, number][]>();
// In turn, so that all of them meet the same machine and the same file.
for (const round of range(ROUNDS + 1)) {
  for (const [name, { version, devices, count, together, make }] of Object.entries(kinds)) {
    const pairs = await makePairs(server, version, devices);
    const figure = await measure(server, pairs, count, together, make);
    if (round > 0) figures.set(name, [...figures.get(name) ?? [], figure]);
    for (const { sender } of pairs) await sender.leave();
  }
}
for (const [name, values] of figures) {
  const [rate, cpu] = [median(values.map(([r]) => r)), median(values.map(([, c]) => c))];
  console.log(
    `${name.padEnd(32)} ${rate.toFixed(0).padStart(7)}/s ${cpu.toFixed(0).padStart(6)} µs of the server`,
  );
}

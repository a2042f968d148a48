/**
 * B4: the memory of an idle connection, beside that of a bare WebSocket server.
 * @module
 */
import { startSeeded } from "../fleet.ts";
import { connectPeer, deaf, forEachOf } from "../peers.ts";
import { residentKib, settledKib, ulimit, wait } from "../process_figures.ts";
import { startEcho, type Target } from "../processes.ts";
import { RawSocket } from "../raw_socket.ts";
import { atMost, figure, type Findings } from "../report.ts";
import { inRounds, on, type Scenario } from "../scenario.ts";
import { makeUsers } from "../seed.ts";

/** How many connections are opened at the same time. */
const OPENING = 100;

/** Files that a process needs beside its connections. */
const OTHER_FILES = 200;

/** Of each connection in the load: pings are small, and greetings are not kept. */
const BUFFER_BYTES = 512;

type Open = (target: Target, userId: string) => Promise<RawSocket>;

const openPeer: Open = (target, userId) => connectPeer(target, userId, deaf, { bufferBytes: BUFFER_BYTES });

const openBare: Open = ({ url }) =>
  RawSocket.connect({ url, path: "/", bufferBytes: BUFFER_BYTES }, () => () => {});

/** KiB of a connection, and what stays when they have gone, with the KiB at the start as 1. */
async function measure(target: Target, users: readonly string[], settleMs: number, open: Open) {
  const before = await settledKib(target, settleMs);
  const sockets: RawSocket[] = [];
  await forEachOf(users, OPENING, async (userId) => void sockets.push(await open(target, userId)));
  const raw = await residentKib(target.pid);
  const settled = await settledKib(target, settleMs);
  for (const socket of sockets) socket.destroy();
  await wait(500);
  const after = await settledKib(target, settleMs);
  return {
    kib: (settled - before) / users.length,
    uncollectedKib: (raw - before) / users.length,
    left: after / before,
  };
}

/** The footprint of connections that do nothing. */
export const idle: Scenario = {
  title: "idle connections: resident memory of each, after a collection",
  async run({ settings, progress }): Promise<Findings> {
    const { connections: wanted, rounds, settleMs } = settings.idle;
    const connections = Math.min(wanted, await ulimit() - OTHER_FILES);
    const results = await inRounds(rounds, async (round) => {
      const users = makeUsers(connections);
      const seed = { devices: users.map((userId) => ({ userId, preKeys: 0 })) };
      const server = await on(
        startSeeded(seed, true),
        (target) => measure(target, users, settleMs, openPeer),
      );
      const bare = await on(startEcho(true), (target) => measure(target, users, settleMs, openBare));
      progress(
        `B4 round ${round}, ${connections}: server ${server.kib.toFixed(1)} KiB, bare ${
          bare.kib.toFixed(1)
        } KiB`,
      );
      return { server, bare };
    });
    return {
      figures: [
        figure("a connection: server ÷ bare", "×", results.map((r) => r.server.kib / r.bare.kib), atMost(2)),
        figure("server", "KiB", results.map((r) => r.server.kib)),
        figure("bare WebSocket server", "KiB", results.map((r) => r.bare.kib)),
        figure("server, before the collection", "KiB", results.map((r) => r.server.uncollectedKib)),
        figure("when they have gone ÷ before they came: server", "×", results.map((r) => r.server.left)),
        figure("when they have gone ÷ before they came: bare", "×", results.map((r) => r.bare.left)),
      ],
      notes: [
        `${connections} connections, each a registered device of a user of its own` +
        (connections < wanted ? `; ${wanted} were wanted: raise ulimit -n (now ${await ulimit()})` : ""),
        "the inspector, by which garbage is collected, is open in both servers",
      ],
    };
  },
};

/**
 * Everybody comes back at once after a restart: thousands of clients, each of which connects the moment the server
 * listens, and again when it was refused, after the time that it was told.
 * @module
 */
import { v2 } from "../../../lib/protocol/mod.ts";
import { benchToken } from "../../bench/processes.ts";
import { connectPeer, forEachOf } from "../../bench/peers.ts";
import { wait } from "../../bench/process_figures.ts";
import { atMost, figure, type Findings } from "../../bench/report.ts";
import { RawSocket } from "../../bench/raw_socket.ts";
import { UpgradeRefused } from "../../bench/upgrade_refused.ts";
import { TYPE } from "../../../lib/protocol/mod.ts";
import { besideHealthy } from "../healthy.ts";
import { Latencies } from "../latencies.ts";
import type { FaultScenario } from "../scenario.ts";
import { count } from "../tally.ts";
import { Victim } from "../victim.ts";

/** How many connect at a time before the restart: no stampede yet. */
const CALMLY = 50;

/** When a client gives up, and the wait after a failure that does not say how long. */
const GIVE_UP_MS = 60_000;
const AGAIN_MS = 1_000;

interface Client {
  readonly userId: string;
  readonly token: string;
}

const key = new Uint8Array(32);
const keys = { registrationId: 1, identityKey: key, signedPreKey: key, preKeys: [], replace: false };
const register = v2.encodeClientMessage({ type: "register", keys }, 1);

/** Connects and registers a device. */
async function join(url: string, userId: string): Promise<RawSocket> {
  const registered = Promise.withResolvers<void>();
  const target = { url } as Parameters<typeof connectPeer>[0];
  const socket = await connectPeer(target, userId, () => (type) => {
    if (type === TYPE.ack) registered.resolve();
  }, { bufferBytes: 2_048 });
  socket.send(register);
  await registered.promise;
  return socket;
}

const nameOf = (error: unknown) => error instanceof Error ? error.name : String(error);

/** Connects, again and again, until the server's first message has come. */
async function comeBack(url: string, { userId, token }: Client, refused: Map<string, number>) {
  const giveUpAt = performance.now() + GIVE_UP_MS;
  while (performance.now() < giveUpAt) {
    let waitMs = AGAIN_MS;
    const greeted = Promise.withResolvers<boolean>();
    try {
      const options = { url, path: `/${userId}/1`, token, subprotocol: "messaging.v2", bufferBytes: 2_048 };
      const socket = await RawSocket.connect(options, () => () => greeted.resolve(true));
      void socket.closed.then(() => greeted.resolve(false));
      if (await greeted.promise) return socket;
      count(refused, `closed with ${await socket.closed} before the first message`);
    } catch (error) {
      count(refused, error instanceof UpgradeRefused ? `status ${error.status}` : nameOf(error));
      if (error instanceof UpgradeRefused && error.retryAfterSeconds !== null) {
        waitMs = error.retryAfterSeconds * 1_000;
      }
    }
    await wait(waitMs * (1 + Math.random() / 2));
  }
  return null;
}

/** All come back at once. */
export const stampede: FaultScenario = {
  title: "kill -9, and all clients reconnect in the moment in which the server listens again",
  async run(soak): Promise<Findings> {
    const count = soak.settings.stampede.clients;
    await using victim = await Victim.start();
    const url = await victim.url;
    const clients: Client[] = [];
    for (let n = 0; n < count; n++) {
      const userId = crypto.randomUUID();
      clients.push({ userId, token: await benchToken(userId) });
    }
    const sockets: RawSocket[] = [];
    await forEachOf(clients, CALMLY, async ({ userId }) => void sockets.push(await join(url, userId)));
    soak.progress(`${sockets.length} clients are connected`);
    const times = new Latencies();
    const refused = new Map<string, number>();
    let back: (RawSocket | null)[] = [];
    const { figures, notes } = await besideHealthy(soak, victim, async () => {
      await victim.kill();
      for (const socket of sockets) socket.destroy();
      const again = await victim.start();
      const startedAt = performance.now();
      back = await Promise.all(clients.map(async (client) => {
        const socket = await comeBack(again, client, refused);
        if (socket !== null) times.add(performance.now() - startedAt);
        return socket;
      }));
      soak.progress(`${times.count} are back after ${times.longest.toFixed(0)} ms`);
    }, { endsConnections: true });
    for (const socket of back) socket?.destroy();
    return {
      figures: [
        figure("clients that did not come back", "", [count - times.count], atMost(0)),
        figure("back, p50", "ms", [times.quantile(0.5)]),
        figure("back, p99", "ms", [times.quantile(0.99)]),
        figure("back, the last one", "ms", [times.longest]),
        ...figures,
      ],
      notes: [
        `${count} clients; attempts that failed: ${
          [...refused].map(([why, times]) => `${why}: ${times}`).join(", ") || "none"
        }`,
        ...notes,
      ],
    };
  },
};

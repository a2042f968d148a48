/**
 * B6: a device comes back to 10,000 messages: how fast it has them, and how soon the first.
 * @module
 */
import { TYPE } from "../../../lib/protocol/mod.ts";
import { ackOf, makeAck } from "../envelopes.ts";
import { startSeeded } from "../fleet.ts";
import { connectPeer } from "../peers.ts";
import { wait } from "../process_figures.ts";
import type { Target } from "../processes.ts";
import type { RawSocket } from "../raw_socket.ts";
import { atLeast, atMost, figure, type Findings } from "../report.ts";
import { inRounds, on, type Scenario } from "../scenario.ts";
import { makeUsers } from "../seed.ts";
import { runServerPairs } from "./relay.ts";

/** How long the whole backlog may take. */
const DEADLINE_MS = 30_000;

/** Connects, acknowledges what comes, and waits for QueueEmpty. */
async function drain(target: Target, userId: string, messages: number) {
  const ack = makeAck(2);
  const { promise: isEmpty, resolve } = Promise.withResolvers<void>();
  const times = { first: Number.NaN, empty: Number.NaN };
  let received = 0;
  const startedAt = performance.now();
  const listen = (socket: RawSocket) => (type: number, sequence: number) => {
    if (type === TYPE.userMessage) {
      if (received++ === 0) times.first = performance.now() - startedAt;
      socket.send(ackOf(ack, sequence));
    } else if (type === TYPE.queueEmpty) {
      times.empty = performance.now() - startedAt;
      resolve();
    }
  };
  const device = await connectPeer(target, userId, listen, { bufferBytes: 262_144 });
  await Promise.race([isEmpty, wait(DEADLINE_MS)]);
  device.destroy();
  return {
    firstMs: times.first,
    perSecond: received / (times.empty / 1_000),
    wrong: Math.abs(received - messages),
  };
}

/** What waits when a device connects. */
export const backlog: Scenario = {
  title: "messages wait for one device, which connects (version 2, every message acknowledged)",
  async run(bench): Promise<Findings> {
    const { settings, progress } = bench;
    const { messages, pairsMs } = settings.backlog;
    const rounds = await inRounds(settings.rounds, async (round) => {
      const [userId = ""] = makeUsers(1);
      const seed = { devices: [{ userId, waiting: messages }] };
      const drained = await on(startSeeded(seed), (target) => drain(target, userId, messages));
      const load = { pairs: 50, unacknowledged: 16, version: 2, measureMs: pairsMs } as const;
      const { rate } = await runServerPairs(bench, load);
      progress(
        `B6 round ${round}: ${drained.perSecond.toFixed(0)}/s, first after ${
          drained.firstMs.toFixed(1)
        } ms, ` +
          `B1 ${rate.toFixed(0)}/s`,
      );
      return { ...drained, rate };
    });
    return {
      figures: [
        figure(
          "messages/s until QueueEmpty ÷ B1's",
          "×",
          rounds.map((r) => r.perSecond / r.rate),
          atLeast(1),
        ),
        figure("until QueueEmpty", "messages/s", rounds.map((r) => r.perSecond)),
        figure("B1's, in the same round", "messages/s", rounds.map((r) => r.rate)),
        figure("from connecting to the first message", "ms", rounds.map((r) => r.firstMs), atMost(50)),
        figure("messages missing, or twice", "messages", rounds.map((r) => r.wrong), atMost(0)),
      ],
      notes: ["from the start of the TCP connection: handshake, token and greeting are in both times"],
    };
  },
};

/**
 * B9: whether a reader that never reads hurts the others, or the memory of the server.
 *
 * 10,000 messages go to it, evenly over the time, beside the load of B3. Compared with the same messages to a reader that
 * reads, which tells what the stuck one costs; and with no such messages at all, which is what the target says.
 * @module
 */
import { TYPE } from "../../../lib/protocol/mod.ts";
import { ackOf, makeAck } from "../envelopes.ts";
import { makeRecipients, startSeeded } from "../fleet.ts";
import { connectPeer, deaf } from "../peers.ts";
import { settledKib } from "../process_figures.ts";
import type { Target } from "../processes.ts";
import { atMost, figure, type Findings } from "../report.ts";
import { type Bench, inRounds, on, type Scenario } from "../scenario.ts";
import { makeUsers } from "../seed.ts";
import { type Latencies, runSteady, steadySender } from "../steady.ts";

/** The wait before garbage is collected and memory is read. */
const SETTLE_MS = 200;

type Reader = "none" | "reads" | "stuck";

interface Measured extends Latencies {
  readonly grownMib: number;
}

/** Connects the reader, if there is one. */
async function connectReader(target: Target, userId: string, kind: Reader): Promise<() => void> {
  if (kind === "none") return () => {};
  const ack = makeAck(2);
  const socket = kind === "stuck"
    ? await connectPeer(target, userId, deaf, { neverReads: true })
    : await connectPeer(
      target,
      userId,
      (socket) => (type, sequence) => {
        if (type === TYPE.userMessage) socket.send(ackOf(ack, sequence));
      },
    );
  return () => socket.destroy();
}

async function measure({ settings }: Bench, kind: Reader): Promise<Measured> {
  const { steady, slow: { messages, measureMs }, ciphertextBytes } = settings;
  const { recipients, seed } = makeRecipients(steady.pairs);
  const [reader = ""] = makeUsers(1);
  const devices = [...seed.devices ?? [], { userId: reader }];
  return await on(startSeeded({ devices }, true), async (target) => {
    const load = { ...steady, recipients, ciphertextBytes, measureMs };
    const endReader = await connectReader(target, reader, kind);
    const before = await settledKib(target, SETTLE_MS);
    let refusal: string | null = null;
    const extra = kind === "none" ? null : await steadySender(target, reader, ciphertextBytes, {
      refused: (reason) => refusal ??= reason,
    });
    const latencies = await runSteady(target, {
      ...load,
      began: async () => {
        await extra?.run(messages, measureMs);
      },
    });
    const grownMib = (await settledKib(target, SETTLE_MS) - before) / 1_024;
    endReader();
    if (refusal !== null) throw new Error(`a send to the slow reader was refused: ${refusal}`);
    extra?.end();
    return { ...latencies, grownMib };
  });
}

/** A reader that never reads. */
export const slowReader: Scenario = {
  title: "one reader that never reads, and messages to it, beside B3's load (version 2)",
  async run(bench): Promise<Findings> {
    const rounds = await inRounds(bench.settings.rounds, async (round) => {
      const none = await measure(bench, "none");
      const stuck = await measure(bench, "stuck");
      const reads = await measure(bench, "reads");
      bench.progress(
        `B9 round ${round}: p99 of the others ${none.p99.toFixed(2)} ms, with messages to one who reads ` +
          `${reads.p99.toFixed(2)}, to one who does not ${stuck.p99.toFixed(2)}; memory grew by ` +
          `${none.grownMib.toFixed(1)}, ${reads.grownMib.toFixed(1)}, ${stuck.grownMib.toFixed(1)} MiB`,
      );
      return { none, stuck, reads };
    });
    const p99 = (kind: "none" | "reads") => rounds.map((round) => round.stuck.p99 / round[kind].p99);
    const grown = (kind: "none" | "reads" | "stuck") => rounds.map((round) => round[kind].grownMib);
    return {
      figures: [
        figure("p99 of the others ÷ without these messages", "×", p99("none"), atMost(1.2)),
        figure("p99 of the others ÷ the same messages to one who reads", "×", p99("reads"), atMost(1.2)),
        figure("p99 of the others", "ms", rounds.map(({ stuck }) => stuck.p99)),
        figure("memory grew by", "MiB", grown("stuck"), atMost(32)),
        figure("memory grew by, the same messages to one who reads", "MiB", grown("reads")),
        figure("memory grew by, without these messages", "MiB", grown("none")),
      ],
      notes: [
        `${bench.settings.slow.messages} messages to the slow reader, evenly over ${bench.settings.slow.measureMs} ms`,
        "memory is read after a collection, before and after, with the slow reader still connected",
      ],
    };
  },
};

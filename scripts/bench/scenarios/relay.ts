/**
 * B1 and B2: messages delivered a second, durable, beside a bare relay that sends in the same way.
 * @module
 */
import type { Version } from "../../../lib/protocol/mod.ts";
import { makeRecipients, startSeeded } from "../fleet.ts";
import { type PairResult, runPairs } from "../pairs.ts";
import { startRelay } from "../processes.ts";
import { atLeast, type Figure, figure, type Findings, loadNote } from "../report.ts";
import { type Bench, inRounds, on, type Scenario } from "../scenario.ts";

/** The versions, each with how the server and so the relay send on it. */
const VERSIONS: readonly { readonly version: Version; readonly sends: string }[] = [
  { version: 2, sends: "envelopes of a turn gathered" },
  { version: 1, sends: "one envelope a frame" },
];

interface Shape {
  readonly name: string;
  readonly pairs: number;
  readonly unacknowledged: number;
  /** Of the ratio. */
  readonly goal: number;
}

/** Delivered a second by the server, in one run. */
export async function runServerPairs(
  { settings }: Bench,
  options: Omit<Shape, "name" | "goal"> & { readonly version: Version; readonly measureMs: number },
): Promise<PairResult> {
  const { recipients, seed } = makeRecipients(options.pairs);
  const { ciphertextBytes, pairs } = settings;
  const load = { ...options, recipients, ciphertextBytes, warmUpMs: pairs.warmUpMs };
  return await on(startSeeded(seed), (target) => runPairs(target, load));
}

async function compare(
  bench: Bench,
  shape: Shape,
  version: Version,
): Promise<{ server: PairResult; relay: PairResult }[]> {
  const { settings, progress } = bench;
  const { pairs, unacknowledged } = shape;
  return await inRounds(settings.rounds, async (round) => {
    const { measureMs, warmUpMs } = settings.pairs;
    const server = await runServerPairs(bench, { pairs, unacknowledged, version, measureMs });
    const { recipients } = makeRecipients(pairs);
    const { ciphertextBytes } = settings;
    const load = { version, recipients, unacknowledged, ciphertextBytes, warmUpMs, measureMs };
    const relay = await on(startRelay(), (target) => runPairs(target, load));
    progress(
      `${shape.name} version ${version}, round ${round}: server ${server.rate.toFixed(0)}/s, relay ${
        relay.rate.toFixed(0)
      }/s`,
    );
    return { server, relay };
  });
}

function scenario(shape: Shape): Scenario {
  return {
    title: `delivered, durable: ${shape.pairs} pair${shape.pairs === 1 ? "" : "s"}, 300 bytes, ` +
      `${shape.unacknowledged} unacknowledged each`,
    async run(bench): Promise<Findings> {
      const figures: Figure[] = [];
      const notes: string[] = [];
      for (const { version, sends } of VERSIONS) {
        const rounds = await compare(bench, shape, version);
        const ratios = rounds.map(({ server, relay }) => server.rate / relay.rate);
        figures.push(
          figure(`version ${version} (${sends}): server ÷ bare relay`, "×", ratios, atLeast(shape.goal)),
          figure(`version ${version}: server`, "messages/s", rounds.map(({ server }) => server.rate)),
          figure(`version ${version}: bare relay`, "messages/s", rounds.map(({ relay }) => relay.rate)),
        );
        notes.push(
          loadNote(`version ${version}, server`, rounds.map(({ server }) => server.processors)),
          loadNote(`version ${version}, relay`, rounds.map(({ relay }) => relay.processors)),
        );
      }
      return { figures, notes };
    },
  };
}

/** Fifty conversations at once. */
export const manyPairs: Scenario = scenario({ name: "B1", pairs: 50, unacknowledged: 16, goal: 0.7 });

/** One conversation. */
export const onePair: Scenario = scenario({ name: "B2", pairs: 1, unacknowledged: 64, goal: 0.5 });

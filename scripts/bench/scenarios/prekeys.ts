/**
 * B5: one-time prekeys taken a second, from small pools, large pools, and many devices.
 * @module
 */
import { HEADER_BYTES, TYPE, v2 } from "../../../lib/protocol/mod.ts";
import { refusalText } from "../envelopes.ts";
import { startSeeded } from "../fleet.ts";
import { connectPeer, forEachOf } from "../peers.ts";
import type { Target } from "../processes.ts";
import type { RawSocket } from "../raw_socket.ts";
import { atLeast, atMost, figure, type Findings } from "../report.ts";
import { inRounds, on, type Scenario } from "../scenario.ts";
import { makeUsers } from "../seed.ts";

/** What is taken from. The takes go over the targets one after the other, or round them. */
const SHAPES = [
  { name: "pools of 100", targets: 10, pool: 100, spread: false },
  { name: "pools of 400", targets: 10, pool: 400, spread: false },
  { name: "200 devices of 100", targets: 200, pool: 100, spread: true },
] as const;

interface Outcome {
  readonly perSecond: number;
  /** Keys that were given out twice, or were missing though the pool had some. */
  readonly wrong: number;
}

/** One who takes keys, one at a time. */
class Requester {
  #socket: RawSocket | null = null;
  #answered: (preKey: Uint8Array | null) => void = () => {};
  #sequence = 0;

  async connect(target: Target): Promise<void> {
    this.#socket = await connectPeer(
      target,
      crypto.randomUUID(),
      () => (type, _sequence, bytes, at, length) => {
        if (type === TYPE.error) {
          console.error(`B5: refused: ${refusalText(2, bytes, at, length)}`);
          this.#answered(null);
        } else if (type === TYPE.preKey) {
          // A copy, since the view is good during the call only.
          const message = v2.decodeServerMessage(type, bytes.slice(at + HEADER_BYTES, at + length));
          this.#answered(message.type === "prekey" ? message.bundle.preKey : null);
        } else if (type === TYPE.ack) this.#answered(null);
      },
    );
  }

  take(userId: string): Promise<Uint8Array | null> {
    const claimId = crypto.getRandomValues(new Uint8Array(16));
    const request = { userId, knownDeviceIds: [], claimId };
    return new Promise((resolve) => {
      this.#answered = resolve;
      this.#socket?.send(v2.encodeClientMessage({ type: "request_prekeys", request }, ++this.#sequence));
    });
  }

  end(): void {
    this.#socket?.destroy();
  }
}

async function measure(target: Target, order: readonly string[], requesters: number): Promise<Outcome> {
  const takers = Array.from({ length: requesters }, () => new Requester());
  await Promise.all(takers.map((taker) => taker.connect(target)));
  const keys = new Set<string>();
  const free = [...takers];
  const startedAt = performance.now();
  await forEachOf(order, requesters, async (userId) => {
    const taker = free.pop();
    if (taker === undefined) throw new Error("more takes at once than requesters");
    const preKey = await taker.take(userId);
    free.push(taker);
    if (preKey !== null) keys.add(preKey.toHex());
  });
  const perSecond = order.length / ((performance.now() - startedAt) / 1_000);
  for (const taker of takers) taker.end();
  return { perSecond, wrong: order.length - keys.size };
}

/** Takes of one-time prekeys. */
export const preKeys: Scenario = {
  title: "one-time prekeys: takes by 50 requesters at once, each with a ClaimID",
  async run({ settings, progress }): Promise<Findings> {
    const { takes, requesters, rounds } = settings.takes;
    const results = await inRounds(rounds, async (round) => {
      const outcomes: Outcome[] = [];
      for (const { name, targets, pool, spread } of SHAPES) {
        const users = makeUsers(targets);
        const seed = { devices: users.map((userId) => ({ userId, preKeys: pool })) };
        const share = takes / targets;
        const order = Array.from(
          { length: takes },
          (_, i) => users[spread ? i % targets : Math.floor(i / share)] ?? "",
        );
        const outcome = await on(startSeeded(seed), (target) => measure(target, order, requesters));
        progress(
          `B5 round ${round}, ${name}: ${outcome.perSecond.toFixed(0)} takes/s, ${outcome.wrong} wrong`,
        );
        outcomes.push(outcome);
      }
      return outcomes;
    });
    const perSecond = (shape: number) => results.map((outcomes) => outcomes[shape]?.perSecond ?? Number.NaN);
    const ratios = perSecond(1).map((large, i) => large / (perSecond(0)[i] ?? Number.NaN));
    const wrong = results.flat().reduce((sum, outcome) => sum + outcome.wrong, 0);
    return {
      figures: [
        figure("pools of 400 ÷ pools of 100", "×", ratios, atLeast(0.9)),
        ...SHAPES.map(({ name }, shape) => figure(name, "takes/s", perSecond(shape))),
        figure("keys given out twice or missing, all rounds", "keys", [wrong], atMost(0)),
      ],
      notes: [
        "ten devices, a tenth of the takes from each, one device after the other; then all round 200 devices",
      ],
    };
  },
};

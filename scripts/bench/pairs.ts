/**
 * The closed load: each sender keeps a number of messages unacknowledged, each recipient acknowledges what it gets.
 * @module
 */
import { TYPE, type Version } from "../../lib/protocol/mod.ts";
import { ackOf, type EnvelopeHandler, makeAck, MessageTemplate, refusalText } from "./envelopes.ts";
import { connectPeer } from "./peers.ts";
import { type Processors, wait, watchProcessors } from "./process_figures.ts";
import type { Target } from "./processes.ts";
import type { RawSocket } from "./raw_socket.ts";

/** What a run is made of. */
export interface PairLoad {
  readonly version: Version;
  /** Registered users; each gets from a user of its own. */
  readonly recipients: readonly string[];
  readonly unacknowledged: number;
  readonly ciphertextBytes: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** What came of it. */
export interface PairResult {
  /** Messages delivered a second. */
  readonly rate: number;
  /** The longest time without any delivery to anybody, milliseconds. */
  readonly longestGapMs: number;
  readonly processors: Processors;
}

/** Counts deliveries, and looks for gaps in them. */
class Deliveries {
  count = 0;
  longestGapMs = 0;
  #lastAt = performance.now();

  add(): void {
    this.count++;
    this.look();
  }

  look(): void {
    const now = performance.now();
    this.longestGapMs = Math.max(this.longestGapMs, now - this.#lastAt);
    this.#lastAt = now;
  }
}

async function startPair(
  target: Target,
  load: PairLoad,
  to: string,
  deliveries: Deliveries,
  failed: (reason: string) => void,
  senderAt: Target,
): Promise<RawSocket[]> {
  const { version } = load;
  const ack = makeAck(version);
  const recipient = await connectPeer(target, to, (socket) => (type, sequence) => {
    if (type !== TYPE.userMessage) return;
    deliveries.add();
    socket.send(ackOf(ack, sequence));
  }, { version });
  const template = new MessageTemplate(version, to, load.ciphertextBytes);
  const listen = (socket: RawSocket): EnvelopeHandler => (type, _sequence, bytes, at, length) => {
    if (type === TYPE.ack) socket.send(template.next());
    else if (type === TYPE.error) failed(refusalText(version, bytes, at, length));
  };
  const sender = await connectPeer(senderAt, crypto.randomUUID(), listen, { version });
  for (let i = 0; i < load.unacknowledged; i++) sender.send(template.next());
  return [recipient, sender];
}

/** The n-th of several, round and round. */
export function oneOf<T>(all: readonly T[], n: number): T {
  const one = all[n % all.length];
  if (one === undefined) throw new Error("there are none");
  return one;
}

/**
 * Runs the load, and leaves the target with it cut off.
 *
 * @param all where there are several on one database: the recipients are spread over them, and each sender is at the one
 * after its recipient's.
 */
export async function runPairs(
  target: Target,
  load: PairLoad,
  all: readonly Target[] = [target],
): Promise<PairResult> {
  const deliveries = new Deliveries();
  let refusal: string | null = null;
  const failed = (reason: string) => refusal ??= reason;
  const sockets = (await Promise.all(
    load.recipients.map((to, i) => startPair(oneOf(all, i), load, to, deliveries, failed, oneOf(all, i + 1))),
  )).flat();
  await wait(load.warmUpMs);
  const processors = await watchProcessors(target);
  const before = deliveries.count;
  deliveries.longestGapMs = 0;
  const startedAt = performance.now();
  await wait(load.measureMs);
  deliveries.look();
  const rate = (deliveries.count - before) / ((performance.now() - startedAt) / 1_000);
  const result = { rate, longestGapMs: deliveries.longestGapMs, processors: await processors() };
  for (const socket of sockets) socket.destroy();
  if (refusal !== null) throw new Error(`${target.name} refused a send: ${refusal}`);
  if (deliveries.count === before) throw new Error(`${target.name} delivered nothing`);
  return result;
}

/**
 * The open load: so many messages a second, due at fixed times whatever the server does.
 *
 * A latency counts from the moment when the message was due, not from when it was sent: a server that stalls, or a load
 * that comes late, can't hide what those behind it waited for (coordinated omission).
 * @module
 */
import { TYPE } from "../../lib/protocol/mod.ts";
import { ackOf, CIPHERTEXT_AT, makeAck, MessageTemplate, refusalText, uint32At } from "./envelopes.ts";
import { connectPeer } from "./peers.ts";
import { type Processors, wait, watchProcessors } from "./process_figures.ts";
import type { Target } from "./processes.ts";
import { quantile } from "./statistics.ts";
import { RawSocket } from "./raw_socket.ts";

/** What a run is made of. */
export interface SteadyLoad {
  /** Registered users; each gets from a user of its own. */
  readonly recipients: readonly string[];
  readonly messagesPerSecond: number;
  readonly ciphertextBytes: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Told when the warm-up is over; is waited for. */
  began?(): Promise<void>;
}

/** Milliseconds from due to delivered. */
export interface Latencies {
  readonly p50: number;
  readonly p99: number;
  readonly longest: number;
  /** How late the load itself sent, at the 99th percentile: it is in all of the above. */
  readonly lateP99: number;
  readonly messages: number;
  readonly processors: Processors;
}

/** How long the last messages may take. */
const TAIL_MS = 3_000;

/** Sends message `index`, and tells when it has arrived. */
export interface Sender {
  send(index: number): void;
  end(): void;
}

/** Who hears what becomes of the messages. */
export interface Listener {
  arrived(index: number): void;
  /** A send was refused. */
  refused(reason: string): void;
}

/** A pair on a server: arrived is delivered. The sender may be at another server on the same database. */
export async function steadyPair(
  target: Target,
  to: string,
  bytes: number,
  listener: Listener,
  senderAt = target,
): Promise<Sender> {
  const ack = makeAck(2);
  const recipient = await connectPeer(target, to, (socket) => (type, sequence, message, at) => {
    if (type !== TYPE.userMessage) return;
    listener.arrived(uint32At(message, at + CIPHERTEXT_AT[2]));
    socket.send(ackOf(ack, sequence));
  });
  const template = new MessageTemplate(2, to, bytes);
  const sender = await connectPeer(
    senderAt,
    crypto.randomUUID(),
    () => (type, _sequence, message, at, length) => {
      if (type === TYPE.error) listener.refused(refusalText(2, message, at, length));
    },
  );
  return {
    send: (index) => sender.send(template.next(index)),
    end: () => [recipient, sender].forEach((socket) => socket.destroy()),
  };
}

/** As many senders as keep each below what a connection may have unanswered, should the server stall. */
const SIDE_SENDERS = 10;

/** Sends evenly to a recipient that somebody else connects, whatever becomes of it. */
export async function steadySender(
  target: Target,
  to: string,
  bytes: number,
  listener: Pick<Listener, "refused">,
) {
  const sockets = await Promise.all(
    Array.from(
      { length: SIDE_SENDERS },
      () =>
        connectPeer(target, crypto.randomUUID(), () => (type, _sequence, message, at, length) => {
          if (type === TYPE.error) {
            listener.refused(refusalText(2, message, at, length));
          }
        }),
    ),
  );
  const template = new MessageTemplate(2, to, bytes);
  const senders = sockets.map((socket) => ({ send: () => socket.send(template.next()), end: () => {} }));
  return {
    async run(messages: number, overMs: number): Promise<void> {
      const startedAt = performance.now();
      await sendOnTime(senders, (index) => startedAt + index * overMs / messages, messages);
    },
    end: () => sockets.forEach((socket) => socket.destroy()),
  };
}

/** A connection to an echo: arrived is back. The same bytes as a send of version 2. */
export async function steadyEcho(
  target: Target,
  to: string,
  bytes: number,
  listener: Listener,
): Promise<Sender> {
  const template = new MessageTemplate(2, to, bytes);
  const markAt = template.next().length - bytes;
  const socket = await RawSocket.connect(
    { url: target.url, path: "/" },
    () => (message) => listener.arrived(uint32At(message, markAt)),
  );
  return { send: (index) => socket.send(template.next(index)), end: () => socket.destroy() };
}

/** Sends what is due, until the time is over. */
async function sendOnTime(senders: readonly Sender[], dueAt: (index: number) => number, messages: number) {
  const late: number[] = [];
  for (let index = 0; index < messages;) {
    const now = performance.now();
    while (index < messages && dueAt(index) <= now) {
      late.push(now - dueAt(index));
      senders[index % senders.length]?.send(index);
      index++;
    }
    if (index < messages) await wait(Math.max(0, Math.floor(dueAt(index) - performance.now())));
  }
  return late;
}

/** Runs the load against a server, or with `steadyEcho` against an echo. */
export async function runSteady(
  target: Target,
  load: SteadyLoad,
  connect: (target: Target, to: string, bytes: number, listener: Listener) => Promise<Sender> = steadyPair,
): Promise<Latencies> {
  const perMs = load.messagesPerSecond / 1_000;
  const messages = Math.ceil((load.warmUpMs + load.measureMs) * perMs);
  const first = Math.ceil(load.warmUpMs * perMs);
  const arrivedAt = new Float64Array(messages);
  let arrivals = 0;
  let refusal: string | null = null;
  const listener: Listener = {
    arrived: (index) => {
      if (arrivedAt[index] !== 0) return; // a second delivery would be a fault, but not a latency
      arrivedAt[index] = performance.now();
      arrivals++;
    },
    refused: (reason) => refusal ??= reason,
  };
  const senders = await Promise.all(
    load.recipients.map((to) => connect(target, to, load.ciphertextBytes, listener)),
  );
  const startedAt = performance.now() + 20;
  const dueAt = (index: number) => startedAt + index / perMs;
  const watch = watchProcessors(target);
  const beside = wait(load.warmUpMs).then(() => load.began?.());
  const late = await sendOnTime(senders, dueAt, messages);
  const processors = await (await watch)();
  await beside;
  for (let waited = 0; arrivals < messages && waited < TAIL_MS; waited += 20) await wait(20);
  for (const sender of senders) sender.end();
  const now = performance.now();
  // What never came counts as having taken until now.
  const latencies = Array.from(arrivedAt, (at, index) => (at === 0 ? now : at) - dueAt(index)).slice(first)
    .sort((a, b) => a - b);
  if (refusal !== null) throw new Error(`${target.name} refused a send: ${refusal}`);
  if (arrivals < messages) {
    console.error(`${target.name}: ${messages - arrivals} messages did not arrive in time`);
  }
  return {
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    longest: latencies.at(-1) ?? Number.NaN,
    lateP99: quantile(late.slice(first).sort((a, b) => a - b), 0.99),
    messages: latencies.length,
    processors,
  };
}

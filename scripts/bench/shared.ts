/**
 * `deno task bench:shared`: several processes on one denokv beside a single file; sender and recipient always on different
 * ones. Throughput, latency, what a connected device costs, how soon it is woken.
 * @module
 */
import { Command } from "commander";
import { Connection } from "../../lib/client/mod.ts";
import { TYPE } from "../../lib/protocol/mod.ts";
import { ackOf, makeAck, MessageTemplate } from "./envelopes.ts";
import { makeRecipients, startSeeded } from "./fleet.ts";
import { oneOf, runPairs } from "./pairs.ts";
import { connectPeer, deaf, forEachOf } from "./peers.ts";
import { describeMachine, processorSeconds, residentKib, wait } from "./process_figures.ts";
import { benchToken, endAll, type KvServer, startDenokv, startServerOn, type Target } from "./processes.ts";
import type { RawSocket } from "./raw_socket.ts";
import { fillDatabase, type Seed } from "./seed.ts";
import { quantile } from "./statistics.ts";
import { runSteady, steadyPair } from "./steady.ts";

interface Options {
  readonly denokv: string;
  readonly options: string;
  readonly processes: string;
  readonly devices: string;
  readonly pairs: string;
  readonly seconds: string;
}

const CIPHERTEXT_BYTES = 300;
const UNACKNOWLEDGED = 16;
const format = (value: number) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);

/** Servers on one database, ended with their scope. */
class Cluster implements AsyncDisposable {
  private constructor(readonly kv: KvServer | null, readonly servers: readonly Target[]) {}

  /** Without `processes`: one server on a file. */
  static async start(options: Options, seed: Seed, processes: number | null): Promise<Cluster> {
    if (processes === null) return new Cluster(null, [await startSeeded(seed)]);
    const kv = await startDenokv(options.denokv, options.options.split(" ").filter((word) => word !== ""));
    Deno.env.set("DENO_KV_ACCESS_TOKEN", kv.settings["DENO_KV_ACCESS_TOKEN"] ?? "");
    await fillDatabase(kv.settings["KV_PATH"] ?? "", seed);
    return new Cluster(
      kv,
      await Promise.all(Array.from({ length: processes }, () => startServerOn(kv.settings))),
    );
  }

  get first(): Target {
    return oneOf(this.servers, 0);
  }

  /** Processor seconds of the servers together, and of denokv. */
  async used(): Promise<[number, number]> {
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    const servers = sum(await processorSeconds(this.servers.map(({ pid }) => pid)));
    return [servers, this.kv === null ? 0 : sum(await processorSeconds([this.kv.pid]))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.servers) await server[Symbol.asyncDispose]();
    await this.kv?.[Symbol.asyncDispose]();
  }
}

async function throughput(options: Options, processes: number | null): Promise<void> {
  const { recipients, seed } = makeRecipients(Number(options.pairs));
  await using cluster = await Cluster.start(options, seed, processes);
  const measureMs = Number(options.seconds) * 1_000;
  const load = {
    version: 2,
    recipients,
    unacknowledged: UNACKNOWLEDGED,
    ciphertextBytes: CIPHERTEXT_BYTES,
    warmUpMs: 1_000,
    measureMs,
  } as const;
  const before = await cluster.used();
  const startedAt = performance.now();
  const { rate } = await runPairs(cluster.first, load, cluster.servers);
  const seconds = (performance.now() - startedAt) / 1_000;
  const after = await cluster.used();
  const [servers, kv] = [0, 1].map((i) => ((after[i] ?? 0) - (before[i] ?? 0)) / seconds) as [number, number];
  console.log(
    `${name(processes)}: ${
      format(rate)
    } messages/s (${recipients.length} pairs, ${UNACKNOWLEDGED} unacknowledged); ` +
      `busy: servers ${format(servers)}, denokv ${format(kv)} processors; ` +
      `a message costs servers ${format(servers / rate * 1e6)} µs, denokv ${format(kv / rate * 1e6)} µs`,
  );
}

async function latency(options: Options, processes: number | null, messagesPerSecond: number): Promise<void> {
  const { recipients, seed } = makeRecipients(50);
  await using cluster = await Cluster.start(options, seed, processes);
  let next = 0;
  const found = await runSteady(
    cluster.first,
    { recipients, messagesPerSecond, ciphertextBytes: CIPHERTEXT_BYTES, warmUpMs: 1_000, measureMs: 4_000 },
    (_, to, bytes, listener) => {
      const n = next++;
      return steadyPair(oneOf(cluster.servers, n), to, bytes, listener, oneOf(cluster.servers, n + 1));
    },
  );
  console.log(
    `${name(processes)}: at ${messagesPerSecond} messages/s from due to delivered p50 ${
      format(found.p50)
    } ms, ` +
      `p99 ${format(found.p99)} ms (the load's own lateness p99 ${format(found.lateP99)} ms)`,
  );
}

/** Takes every one-time prekey of some devices, asked for at all processes at once. */
async function claims(options: Options, processes: number | null): Promise<void> {
  const { recipients, seed } = makeRecipients(50);
  await using cluster = await Cluster.start(options, seed, processes);
  const requesters = await Promise.all(Array.from({ length: 20 }, async (_, n) => {
    const userId = crypto.randomUUID();
    const token = await benchToken(userId);
    return await Connection.connect({ url: oneOf(cluster.servers, n).url, userId, deviceId: 1, token });
  }));
  const before = await cluster.used();
  const startedAt = performance.now();
  let taken = 0;
  await Promise.all(requesters.map(async (requester, n) => {
    for (let i = 0; i < recipients.length; i++) {
      const [bundle] = await requester.requestPreKeys(oneOf(recipients, i + n * 2));
      if (bundle?.preKey) taken++;
    }
  }));
  const seconds = (performance.now() - startedAt) / 1_000;
  const after = await cluster.used();
  const cost = (i: 0 | 1) => format(((after[i] ?? 0) - (before[i] ?? 0)) / taken * 1e6);
  console.log(
    `${name(processes)}: ${taken} prekeys, ${format(taken / seconds)} a second; ` +
      `one costs servers ${cost(0)} µs, denokv ${cost(1)} µs`,
  );
  await Promise.all(requesters.map((requester) => requester.close()));
}

function name(processes: number | null): string {
  return processes === null ? "one file" : `denokv, ${processes} process${processes === 1 ? "" : "es"}`;
}

async function openFiles(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("sh", { args: ["-c", `ls /proc/${pid}/fd | wc -l`] }).output();
  return Number(new TextDecoder().decode(stdout));
}

/** Connects many devices to one process; another one sends to some of them, then to all at once. */
async function devices(options: Options, count: number): Promise<void> {
  const { recipients, seed } = makeRecipients(count);
  await using cluster = await Cluster.start(options, seed, 2);
  const { kv } = cluster;
  if (kv === null) throw new Error("no denokv");
  const [home, away] = [oneOf(cluster.servers, 0), oneOf(cluster.servers, 1)];
  const state = async () => ({
    server: await residentKib(home.pid),
    kv: await residentKib(kv.pid),
    files: await openFiles(home.pid),
    kvFiles: await openFiles(kv.pid),
  });
  const before = await state();
  const woken = new Map<string, (ms: number) => void>();
  const ack = makeAck(2);
  const sockets: RawSocket[] = [];
  const startedAt = performance.now();
  await forEachOf(recipients, 50, async (userId) => {
    sockets.push(
      await connectPeer(home, userId, (socket) => (type, sequence) => {
        if (type !== TYPE.userMessage) return;
        socket.send(ackOf(ack, sequence));
        woken.get(userId)?.(performance.now());
      }),
    );
  });
  const openedMs = performance.now() - startedAt;
  await wait(5_000);
  const after = await state();
  const senders = await Promise.all(
    Array.from({ length: 25 }, () => connectPeer(away, crypto.randomUUID(), deaf)),
  );
  sockets.push(...senders);
  let next = 0;
  const send = (userId: string) => {
    const { promise, resolve } = Promise.withResolvers<number>();
    woken.set(userId, resolve);
    const sentAt = performance.now();
    oneOf(senders, next++).send(new MessageTemplate(2, userId, CIPHERTEXT_BYTES).next());
    return Promise.race([
      promise.then((at) => at - sentAt),
      wait(20_000).then(() => Number.POSITIVE_INFINITY),
    ]);
  };
  const one: number[] = [];
  for (const userId of recipients.slice(0, 200)) one.push(await send(userId));
  one.sort((a, b) => a - b);
  const burst = await Promise.all(recipients.slice(200, 700).map(send));
  console.log(
    `${count} devices at one process: all open after ${format(openedMs / 1_000)} s; a device takes ` +
      `${format((after.server - before.server) / count)} KiB of the server, ${
        format((after.kv - before.kv) / count)
      } KiB of ` +
      `denokv; files: server ${after.files - before.files}, denokv ${after.kvFiles - before.kvFiles} more; ` +
      `from sent at another process to there: p50 ${format(quantile(one, 0.5))}, p99 ${
        format(quantile(one, 0.99))
      } ms; ` +
      `${burst.length} at once: the last after ${format(Math.max(...burst))} ms`,
  );
  for (const socket of sockets) socket.destroy();
}

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      endAll();
      Deno.exit(130);
    });
  }
  globalThis.addEventListener("unload", endAll);
  const home = Deno.env.get("HOME");
  await new Command("bench:shared")
    .description("Measure several processes on one denokv beside a single file.")
    .option("--denokv <program>", "", `${home}/.cache/messaging-server/denokv-0.14.0/bin/denokv`)
    .option("--options <words>", "of denokv serve", "--num-workers=2")
    .option("--processes <counts>", "how many servers, 0 for a file", "0,1,2,4")
    .option("--devices <counts>", "connected devices; empty for none", "1000,5000")
    .option("--pairs <count>", "conversations at once", "50")
    .option("--seconds <count>", "of each measurement of throughput", "5")
    .action(async (options: Options) => {
      console.log(JSON.stringify(await describeMachine()), options.options);
      const counts = (text: string) => text.split(",").filter((word) => word !== "").map(Number);
      for (const count of counts(options.processes)) await throughput(options, count === 0 ? null : count);
      for (const rate of [50, 500]) {
        for (const count of counts(options.processes)) {
          await latency(options, count === 0 ? null : count, rate);
        }
      }
      for (const count of counts(options.processes)) await claims(options, count === 0 ? null : count);
      for (const count of counts(options.devices)) await devices(options, count);
      endAll();
      Deno.exit(0);
    })
    .parseAsync(Deno.args, { from: "user" });
}

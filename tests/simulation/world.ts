/**
 * One run: processes on one database, clients, and what happens to them; all of it decided by a seed. First everything
 * goes wrong that can; then all is well again, and must come to rest.
 */
import { loadConfig } from "../../lib/config.ts";
import { act, connect, sendOne, type Stage } from "./actions.ts";
import { Client, GOOD, type Surroundings } from "./client.ts";
import { type Bug, Cluster } from "./cluster.ts";
import { TIMES } from "../../lib/limits.ts";
import { Evidence } from "./evidence.ts";
import { replaceGlobals } from "./globals.ts";
import { KvState } from "./kv_state.ts";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { Settlement } from "./settlement.ts";

/** What a test may choose. */
export interface WorldOptions {
  readonly seed: number;
  /** A bug that is put in, to see that it is found. */
  readonly bug?: Bug;
  /** Told each line of the trace. */
  readonly onTrace?: (line: string) => void;
}

/** What a run came to. */
export interface Outcome {
  readonly seed: number;
  /** The promises that were broken, the first one first; empty if all held. */
  readonly broken: readonly string[];
  /** Of everything that happened. */
  readonly traceHash: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** Smaller seeds are short runs, for those who wait for them: what goes wrong mostly does soon. */
const SHORT_SEEDS = 1_000;

/** How long all is well at the end, and how often clients look whether they are connected. */
const REST = { ms: 105_000, lookMs: 1_000, lastMs: 5_000, promptMs: 5_000, leftoversMs: 12_000 } as const;

/** The mean time for which a client stays that fails over a message. */
const RETURN_MS = 150;

/** A promise that is broken ends the run within so much time. */
const STRIDE_MS = 500;

/** A run. */
class World {
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly state = new KvState();
  readonly evidence: Evidence;
  readonly clients: Client[] = [];
  readonly cluster: Cluster;
  readonly isShared: boolean;
  readonly #networkRandom: Random;
  #connectionId = 0;
  #isRough = true;

  constructor(private readonly options: WorldOptions) {
    const { seed } = options;
    this.random = new Random(`${seed} world`);
    this.#networkRandom = new Random(`${seed} network`);
    this.scheduler = new Scheduler(new Random(`${seed} order`));
    this.scheduler.onTrace = options.onTrace ?? null;
    const { random, scheduler, state } = this;
    const isShared = this.isShared = random.chance(0.75);
    const mailboxMessagesMax = random.pick([25, 100, 10_000]) ?? 100;
    const config = loadConfig({
      RATE_SENDS: "off",
      RATE_PAIR: "off",
      RATE_PREKEYS: "off",
      RATE_CLAIMS: "off",
      RATE_REQUESTS: "off",
      RATE_REFUSALS: random.chance(0.5) ? "off" : "5/s:200",
      PREKEYS_MAX: "60",
      PREKEY_ORDER: random.chance(0.8) ? "fifo" : "lifo",
      MAILBOX_MESSAGES_MAX: `${mailboxMessagesMax}`,
    });
    this.evidence = new Evidence(scheduler, state, isShared, mailboxMessagesMax);
    const { evidence } = this;
    const { bug } = options;
    const storageRandom = new Random(`${seed} storage`);
    this.cluster = new Cluster({ random, storageRandom, scheduler, state, evidence, config, isShared, bug });
    this.#createClients();
  }

  /** What actions work with. */
  get stage(): Stage {
    const { random, evidence, clients } = this;
    return { random, evidence, clients, processes: this.cluster.up };
  }

  async run(): Promise<void> {
    const { scheduler, random } = this;
    const isLong = this.options.seed >= SHORT_SEEDS && random.chance(0.2);
    const roughMs = isLong ? random.between(10_000, 40_000) : random.between(3_000, 8_000);
    const [first] = this.clients;
    if (first !== undefined && random.chance(0.2)) {
      first.manners = { ...first.manners, refuses: 0.1 };
      this.#keepReturning(first);
    }
    for (const client of this.clients) this.#keepActing(client, random.between(80, 600));
    this.cluster.keepDisturbing(random.between(800, 5_000));
    while (scheduler.elapsed < roughMs && !this.#isBroken) await scheduler.advance(STRIDE_MS);
    await this.#rest();
    if (this.#isBroken) return;
    const settlement = this.#settlement();
    settlement.judge();
    // The trash is left alone for a while: nobody waits for that.
    this.cluster.moveOn(TIMES.trashAgeMs);
    await this.#letPass(REST.leftoversMs);
    if (!this.#isBroken) settlement.judgeLeftovers();
  }

  #settlement(): Settlement {
    const { evidence, state, clients, cluster: { processes }, isShared } = this;
    return new Settlement(evidence, state, clients, processes, isShared);
  }

  get #isBroken(): boolean {
    return this.evidence.verdict.broken.length > 0;
  }

  /** Everything is well again: everyone connects, and gets what is theirs; then once more, to be told what is lost. */
  async #rest(): Promise<void> {
    this.#isRough = false;
    this.cluster.calm();
    for (const client of this.clients) client.manners = GOOD;
    await this.#letPass(REST.ms);
    if (!this.#isBroken) this.#settlement().judgeArrivals();
    for (const client of this.clients) client.connection?.clientCloses();
    await this.#letPass(REST.lastMs);
    await this.#sendAtRest();
  }

  /** When all is well, a message arrives at once: no bell may have been lost. */
  async #sendAtRest(): Promise<void> {
    const { sends, copies, verdict } = this.evidence;
    const before = sends.all.length;
    for (const client of this.clients) if (client.isConnected) sendOne(client, this.stage);
    await this.#letPass(REST.promptMs);
    for (const copy of copies.all) {
      if (copy.token < before || copy.acknowledged !== null || copies.mayHaveExpired(copy)) continue;
      verdict.broke(`message ${copy.token} for ${copy.device} did not arrive within ${REST.promptMs} ms`);
    }
  }

  async #letPass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms && !this.#isBroken; passed += REST.lookMs) {
      for (const client of this.clients) if (client.connection === null) connect(client, this.stage);
      await this.scheduler.advance(REST.lookMs);
    }
  }

  #createClients(): void {
    const { random, scheduler, evidence } = this;
    const surroundings: Surroundings = {
      scheduler,
      random: this.#networkRandom,
      evidence,
      nextConnectionId: () => ++this.#connectionId,
    };
    for (let users = 2 + random.below(3); users > 0; users--) {
      const userId = random.uuid();
      for (let deviceId = random.below(3); deviceId >= 0; deviceId--) {
        const client = new Client({ userId, deviceId }, random.chance(0.65) ? 2 : 1, surroundings);
        client.manners = {
          acknowledges: random.pick([1, 0.9, 0.5]) ?? 1,
          acknowledgeMs: random.pick([5, 50, 1_000]) ?? 5,
          doubles: random.pick([0, 0.02, 0.1]) ?? 0,
          refuses: 0,
        };
        this.clients.push(client);
      }
    }
  }

  /** Ends each connection soon, and comes back, as a client does that fails over a message. */
  #keepReturning(client: Client): void {
    this.scheduler.after(this.random.wait(RETURN_MS), () => {
      if (!this.#isRough) return;
      client.connection?.clientCloses();
      connect(client, this.stage);
      this.#keepReturning(client);
    });
  }

  #keepActing(client: Client, meanMs: number): void {
    this.scheduler.after(this.random.wait(meanMs), () => {
      if (!this.#isRough) return;
      act(client, this.stage);
      this.#keepActing(client, meanMs);
    });
  }
}

/** Carries out the run of a seed. */
export async function runWorld(options: WorldOptions): Promise<Outcome> {
  let world: World | null = null;
  using _ = replaceGlobals(
    new Random(`${options.seed} chance`),
    () => world?.cluster.databaseClock.now() ?? 0,
  );
  world = new World(options);
  await world.run();
  const { scheduler, evidence, cluster } = world;
  const { verdict, sends, deliveries, handedOut, answers, bounds } = evidence;
  return {
    seed: options.seed,
    broken: verdict.broken,
    traceHash: scheduler.traceHash(),
    figures: {
      events: scheduler.count,
      sends: sends.all.length,
      accepted: answers.accepted,
      refused: answers.refused,
      deliveries: deliveries.count,
      preKeys: handedOut.count,
      setAside: evidence.setAsides.moved,
      ...bounds.most,
      ...cluster.figures,
    },
  };
}

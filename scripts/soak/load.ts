/**
 * Pairs of devices that write to each other: as fast as they are answered, or so many messages a second whatever the
 * server does. The second kind are the healthy clients, whose latencies are measured beside a fault.
 * @module
 */
import type { Version } from "../../lib/protocol/mod.ts";
import { wait } from "../bench/process_figures.ts";
import { benchToken } from "../bench/processes.ts";
import { Device } from "./device.ts";
import { Claims } from "./key_ring.ts";
import { Lane } from "./lane.ts";
import { Tally } from "./tally.ts";
import type { Victim } from "./victim.ts";

/** The versions of the pairs, in turn: each with itself, and with the other. */
const VERSIONS: readonly (readonly [Version, Version])[] = [[1, 1], [2, 2], [1, 2], [2, 1]];

const NONE: InFlight = { 1: 0, 2: 0 };

/** How often something that is waited for is looked at. */
const LOOK_MS = 20;

/** How many sends a device has under way at once, by its version. 0: it sends when `pace` says so. */
export type InFlight = Readonly<Record<Version, number>>;

/** What a load is made of. */
export interface LoadOptions {
  readonly pairs: number;
  /** Default: none by itself, so that they send when `pace` says so. */
  readonly inFlight?: InFlight;
  /** No more messages than this are sent. */
  readonly messages?: number;
  /** Whether prekeys are claimed, and some messages not acknowledged at first. */
  readonly isRestless?: boolean;
  /** Settings for the versions; default: all. */
  readonly versions?: readonly (readonly [Version, Version])[];
}

/** Devices that write to each other. */
export class Load {
  readonly tally = new Tally();
  readonly devices: Device[] = [];
  readonly #lanes: Lane[] = [];
  #running: Promise<void>[] = [];
  #isSending = false;
  #isOver = false;
  /** Messages that were due when their device was not connected. */
  notSent = 0;

  private constructor(private readonly victim: Victim, private readonly options: LoadOptions) {}

  /** Makes the devices, connects and registers them: once all are ready they begin to send. */
  static async start(victim: Victim, options: LoadOptions): Promise<Load> {
    const load = new Load(victim, options);
    await load.#make();
    load.#running = load.devices.map((device) => device.run());
    await load.until(
      "every device is registered",
      () => load.devices.every(({ isReady }) => isReady),
      60_000,
    );
    load.#isSending = true;
    for (const device of load.devices) device.begin();
    return load;
  }

  /** Whether as many messages were sent as there are to be. */
  get isSpent(): boolean {
    return this.tally.sent >= (this.options.messages ?? Number.POSITIVE_INFINITY);
  }

  /** Sends so many messages a second, evenly over the devices, until `settle`. Does not wait. */
  pace(messagesPerSecond: number): void {
    void this.#pace(messagesPerSecond);
  }

  /** Sends no more, and waits until everything was answered and what was accepted is there. Then counts what is not. */
  async settle(deadlineMs = 60_000): Promise<void> {
    this.#isSending = false;
    const isSettled = () =>
      this.devices.every(({ isAnswered }) => isAnswered) &&
      this.#lanes.every(({ isDelivered }) => isDelivered);
    await this.until("everything is answered and delivered", isSettled, deadlineMs).catch((error) => {
      // What is missing is counted as lost, and what is not answered is told.
      console.error(`soak: ${error.message}`);
    });
  }

  /** Sends one more message from each device, which comes after all that wait, and waits for it. */
  async sendLast(deadlineMs = 60_000): Promise<void> {
    await this.until("every device is back", () => this.devices.every(({ isReady }) => isReady), deadlineMs);
    for (const device of this.devices) device.send(); // whatever `mayGoOn` says
    await this.settle(deadlineMs);
  }

  /** Counts what was lost, and ends. */
  async end(): Promise<Tally> {
    for (const lane of this.#lanes) lane.audit();
    await this[Symbol.asyncDispose]();
    return this.tally;
  }

  /** Waits for something. */
  async until(what: string, isSo: () => boolean, deadlineMs: number): Promise<void> {
    const lateAt = performance.now() + deadlineMs;
    while (!isSo()) {
      if (performance.now() > lateAt) {
        const waiting = this.devices.filter((device) => !device.isReady || !device.isAnswered);
        const some = waiting.slice(0, 3).map(({ state }) => state).join("; ");
        throw new Error(`not within ${deadlineMs} ms: ${what}. ${waiting.length} devices wait: ${some}`);
      }
      await wait(LOOK_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    for (const device of this.devices) device.end();
    await Promise.race([Promise.all(this.#running), wait(2_000)]);
  }

  async #make(): Promise<void> {
    const { pairs, inFlight = NONE, isRestless = false, versions = VERSIONS } = this.options;
    const claims = new Claims(this.tally);
    const users = Array.from({ length: 2 * pairs }, () => crypto.randomUUID());
    const lanes = users.map((_, i) => new Lane(`${i >> 1}${i % 2 === 0 ? "a" : "b"}`, i, this.tally));
    this.#lanes.push(...lanes);
    for (const [index, userId] of users.entries()) {
      const [outgoing, incoming, partnerId] = [lanes[index], lanes[index ^ 1], users[index ^ 1]];
      const version = versions[(index >> 1) % versions.length]?.[index & 1];
      if (!outgoing || !incoming || !partnerId || !version) throw new Error("devices come in pairs");
      this.devices.push(
        new Device({
          index,
          userId,
          partnerId,
          version,
          outgoing,
          incoming,
          claims,
          inFlight: inFlight[version],
          token: await benchToken(userId),
          tally: this.tally,
          targets: isRestless ? users : [],
          url: () => this.victim.url,
          mayGoOn: () => this.#isSending && !this.isSpent,
        }),
      );
    }
  }

  async #pace(messagesPerSecond: number): Promise<void> {
    const startedAt = performance.now();
    const dueAt = (index: number) => startedAt + index * 1_000 / messagesPerSecond;
    for (let index = 0; this.#isSending && !this.#isOver && !this.isSpent;) {
      for (; dueAt(index) <= performance.now(); index++) {
        const device = this.devices[index % this.devices.length];
        if (device?.send(dueAt(index)) !== true) this.notSent++;
      }
      await wait(Math.max(1, dueAt(index) - performance.now()));
    }
  }
}

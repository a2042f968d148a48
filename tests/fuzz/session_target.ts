/** Sessions of both versions, over WebSockets, on a server in a process of its own. */
import assert from "node:assert/strict";
import { Random } from "../process/random.ts";
import { ProcessServer } from "../support/process_server.ts";
import { HealthyPair } from "./healthy_pair.ts";
import { makeUserId } from "./mutation.ts";
import { readSeedEnvelopes, type SeedEnvelope } from "./seed_envelopes.ts";
import { FrameMaker } from "./session_frames.ts";
import { SessionPeer } from "./session_peer.ts";
import { Counts, type OpenTarget, type Target } from "./target.ts";
import { FUZZED_SETTINGS, Vitals } from "./vitals.ts";

const FRAMES_A_ROUND = 480;
const PEERS = 8;

/** Small, so that they are met. */
const LIMITS = {
  MAILBOX_MESSAGES_MAX: "5",
  PREKEYS_MAX: "12",
  DEVICES_MAX: "2",
  RATE_REQUESTS: "1/s:8",
  LOG_FORMAT: "json",
};

class Sessions implements OpenTarget {
  readonly #counts = new Counts();

  constructor(
    private readonly server: ProcessServer,
    private readonly pair: HealthyPair,
    private readonly vitals: Vitals,
    private readonly seeds: readonly SeedEnvelope[],
  ) {}

  async run(seed: number): Promise<void> {
    const conversing = this.pair.converse();
    const random = new Random(seed);
    // In every other round users have several devices, of different versions, which may unregister each other.
    const users = Array.from({ length: seed % 2 === 0 ? 3 : PEERS }, () => makeUserId(random));
    const peers = Promise.all(Array.from({ length: PEERS }, (_, i) => this.#peer(seed, i, users)));
    try {
      await this.vitals.during(Promise.race([conversing, peers]));
    } finally {
      this.pair.stop();
      await conversing;
    }
  }

  describe(): string {
    return `${this.#counts}; healthy: ${this.pair.exchanged} each way; ${this.vitals.describe()}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pair.close();
    await this.server[Symbol.asyncDispose]();
  }

  async #peer(seed: number, i: number, users: readonly string[]): Promise<void> {
    const random = new Random((seed * PEERS + i) >>> 0);
    const version = i % 4 === 0 ? 1 : 2;
    const userId = users[i % users.length];
    assert.ok(userId !== undefined);
    const deviceId = Math.floor(i / users.length);
    const isAlone = users.length === PEERS;
    const address = { userId, deviceId, isAlone };
    const peer = new SessionPeer(this.server.url, version, address, random, this.#counts);
    const seeds = this.seeds.filter((envelope) => envelope.version === version);
    await peer.run(new FrameMaker(random, version, users, seeds, peer.recent), FRAMES_A_ROUND / PEERS);
  }
}

/** The sessions. */
export const sessions: Target = {
  name: "sessions",
  open: async () => {
    const server = await ProcessServer.start({ ...LIMITS, ...FUZZED_SETTINGS });
    const pair = new HealthyPair();
    await pair.open(server.url);
    return new Sessions(server, pair, new Vitals(server), await readSeedEnvelopes());
  },
};

/**
 * One process of the server: everything below its HTTP, on a way to the database of its own. It can crash, stop, and
 * have its clock stepped.
 */
import { addressKey } from "../../lib/address.ts";
import type { Address } from "../../lib/address.ts";
import { sleep } from "../../lib/clock.ts";
import type { Config } from "../../lib/config.ts";
import { Metrics } from "../../lib/metrics.ts";
import { type Codec, v1, v2 } from "../../lib/protocol/mod.ts";
import { drain } from "../../lib/server/drain.ts";
import {
  createCore,
  createService,
  type MailboxEntry,
  Maintenance,
  type Service,
} from "../../lib/service/mod.ts";
import { Session, type Socket } from "../../lib/session/mod.ts";
import { createStore, Database, type Store } from "../../lib/store/mod.ts";
import { KvModel } from "./kv_model.ts";
import type { KvState } from "./kv_state.ts";
import type { ProcessClock, Scheduler } from "./scheduler.ts";
import type { StorageWay } from "./storage_way.ts";

/** How often sessions are told the time, as the server does. */
const TICK_MS = 1_000;

/** The wait before a process that could not start is started again. */
const RESTART_MS = 1_000;

/** What a test may spoil in a store before the server gets it. */
export type Plant = (store: Store) => void;

/** A process. */
export class ServerProcess {
  readonly sessions = new Set<Session>();
  /** Told when the process is gone, for its sockets. */
  readonly onGone = new Set<() => void>();
  #service: Service | null = null;
  #maintenance: Maintenance | null = null;
  #kv: KvModel;
  #isDraining = false;
  #store: Store | null = null;
  readonly #metrics = new Metrics();

  constructor(
    readonly id: number,
    readonly clock: ProcessClock,
    readonly way: StorageWay,
    private readonly options: {
      readonly config: Config;
      readonly isShared: boolean;
      readonly state: KvState;
      readonly scheduler: Scheduler;
      readonly plant?: Plant;
    },
  ) {
    this.#kv = new KvModel(options.state, way);
    void this.#start();
  }

  /** Whether it takes connections. */
  get isUp(): boolean {
    return this.#service !== null && !this.#isDraining && !this.isGone;
  }

  /** Whether it crashed, or has stopped. */
  get isGone(): boolean {
    return this.way.isDead;
  }

  /** Whether everything that it wants to store is stored. */
  get isIdle(): boolean {
    return this.#store?.writer.isIdle ?? true;
  }

  /**
   * A connection of a client has come in.
   *
   * @param delivers told which message of which mailbox a sequence stands for, before it is sent.
   */
  open(
    { id, address, version }: { readonly id: number; readonly address: Address; readonly version: 1 | 2 },
    socket: Socket,
    delivers: (sequence: number, entry: MailboxEntry) => void,
  ): Session {
    if (this.#service === null) throw new Error("the process does not take connections");
    const { clock } = this;
    const context = { service: this.#service, clock, config: this.options.config, metrics: this.#metrics };
    const codec = version === 1 ? v1 : v2;
    const seen: Codec = {
      ...codec,
      encodeServerMessage(message, sequence, room) {
        // What is delivered is an entry of a mailbox, of which the wire shows a part.
        if (message.type === "user_message") delivers(sequence, message.message as MailboxEntry);
        return codec.encodeServerMessage(message, sequence, room);
      },
    };
    const session = new Session(context, socket, address, seen, null);
    this.sessions.add(session);
    this.options.scheduler.trace(`process ${this.id} has connection ${id} of ${addressKey(address)}`);
    return session;
  }

  /** Ends at once: what is in memory is lost. */
  crash(): void {
    if (this.isGone) return;
    this.options.scheduler.trace(`process ${this.id} crashes`);
    this.#end();
  }

  /** Stops as an operator stops it. */
  async stop(): Promise<void> {
    if (!this.isUp || this.#store === null) return;
    this.#isDraining = true;
    this.options.scheduler.trace(`process ${this.id} stops`);
    const { sessions, clock } = this;
    await drain({ sessions, writer: this.#store.writer, clock, shutdown: () => Promise.resolve() });
    this.#maintenance?.stop();
    this.#end();
  }

  #end(): void {
    this.way.isDead = true;
    this.clock.stop();
    this.#kv.close();
    for (const gone of [...this.onGone]) gone();
    this.sessions.clear();
  }

  async #start(): Promise<void> {
    const { clock } = this;
    const { isShared, config } = this.options;
    const database = new Database(this.#kv.kv, this.#kv.kv, clock, isShared, "simulated");
    while (this.#service === null) {
      try {
        const store = await createStore(database, this.#metrics);
        this.options.plant?.(store);
        const core = createCore(config, clock, this.#metrics, store);
        this.#store = store;
        this.#maintenance = new Maintenance(core);
        this.#service = createService(core);
      } catch {
        await sleep(clock, RESTART_MS);
      }
    }
    while (!this.isGone) {
      await sleep(clock, TICK_MS);
      for (const session of this.sessions) session.tick(clock.monotonic());
    }
  }
}

/**
 * The server: listens, upgrades what is admitted, keeps the sessions, and stops without losing anything.
 * @module
 */
import { type Clock, sleep, systemClock } from "../clock.ts";
import type { Config } from "../config.ts";
import { type Authenticator, createAuthenticator, type Identity } from "../identity/mod.ts";
import { logger } from "../log.ts";
import { Metrics } from "../metrics.ts";
import { CLOSE } from "../protocol/mod.ts";
import { createCore, createService, Maintenance } from "../service/mod.ts";
import { Session, type SessionContext } from "../session/mod.ts";
import { createStore, Database, loadSecret, openDatabase, type Store } from "../store/mod.ts";
import { drain } from "./drain.ts";
import type { Connected, Engine } from "./engine.ts";
import { Entrance } from "./entrance.ts";
import { listen } from "./listen.ts";
import type { Offer } from "./offer.ts";
import { Confirmations } from "./confirmations.ts";
import { PresentUsers } from "./present_users.ts";
import { threadWork, UnseenWork } from "./unseen_work.ts";

const log = logger("server");

/** How often sessions look at what depends on time. */
const TICK_MS = 1_000;

/** What a test or an embedding program may bring along. */
export interface ServerOptions {
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** An open database that is shared with others, and closed by them. Default: what `kvPath` names. */
  readonly kv?: Deno.Kv;
  /**
   * Whether the thread does nothing but this: then whoever keeps it busy unseen is sent away (`unseen_work.ts`). Default:
   * no, it may be busy with work of the program's own.
   */
  readonly hasThreadToItself?: boolean;
}

/** A server that listens. */
export class MessagingServer {
  readonly #sessions = new Set<Session>();
  readonly #entrance: Entrance;
  readonly #maintenance: Maintenance;
  readonly #context: SessionContext;
  readonly #confirmations: Confirmations;
  readonly #unseenWork: UnseenWork;
  readonly #stopped = new AbortController();
  #engine: Engine | null = null;
  #isDraining = false;
  #draining: Promise<void> | null = null;

  private constructor(
    private readonly config: Config,
    clock: Clock,
    private readonly metrics: Metrics,
    private readonly store: Store,
    authenticator: Authenticator,
    private readonly options: ServerOptions,
  ) {
    const core = createCore(config, clock, metrics, store);
    this.#context = { service: createService(core), clock, config, metrics };
    this.#confirmations = new Confirmations(clock);
    this.#maintenance = new Maintenance(core);
    const things = () => metrics.total + store.database.reads;
    // The other engine sees everything, and ends what is too much by itself.
    const isWatched = options.hasThreadToItself === true && config.wsEngine === "deno";
    const done = isWatched ? () => threadWork(things) : () => null;
    this.#unseenWork = new UnseenWork(done, new PresentUsers(this.#sessions, core.rates.refusals));
    this.#entrance = new Entrance(config, clock, metrics, authenticator, core.rates.refusals, {
      isDraining: () => this.#isDraining,
      storageAnswers: () => store.database.answers(),
      connected: (offer, identity, ended) => this.#connected(offer, identity, ended),
    });
  }

  /**
   * Opens the database and listens.
   *
   * @throws {DatabaseError} if the database can't be opened; {ListenError} if the address can't be had.
   */
  static async start(config: Config, options: ServerOptions = {}): Promise<MessagingServer> {
    const clock = options.clock ?? systemClock;
    const path = config.onDeploy ? undefined : config.kvPath;
    const database = options.kv === undefined
      ? await openDatabase(path, {
        clock,
        exclusive: true,
        mayBeEphemeral: config.kvEphemeralIUnderstand === "yes",
      })
      : new Database(options.kv, options.kv, clock, true, "given");
    try {
      const metrics = new Metrics({
        connections: { help: "Open connections", value: () => server.connectionCount },
        resident_bytes: { help: "Memory of the process", value: () => Deno.memoryUsage().rss },
        heap_bytes: {
          help: "Memory of the JavaScript heap in use",
          value: () => Deno.memoryUsage().heapUsed,
        },
      });
      const store = await createStore(database, metrics);
      const authenticator = await createAuthenticator(config, clock, () => loadSecret(database));
      const server: MessagingServer = new MessagingServer(
        config,
        clock,
        metrics,
        store,
        authenticator,
        options,
      );
      await server.#listen();
      log.info("listening on {url}, database {database}, AUTH_MODE={mode}, WS_ENGINE={engine}", {
        url: server.url,
        database: database.description,
        mode: config.authMode,
        engine: config.wsEngine,
      });
      if (config.authMode === "none") {
        log.warn(
          "AUTH_MODE=none: whoever reaches this server can register and read for anyone. For trials only.",
        );
      }
      return server;
    } catch (error) {
      if (options.kv === undefined) database.close();
      throw error;
    }
  }

  /** Where clients connect, without the path. */
  get url(): string {
    const { hostname, port } = this.#listening.address;
    const host = hostname.includes(":") ? `[${hostname}]` : hostname;
    return `${this.config.tlsCertFile === undefined ? "ws" : "wss"}://${host}:${port}`;
  }

  /** How many connections there are. */
  get connectionCount(): number {
    return this.#entrance.connectionCount;
  }

  /** Resolves when the server has stopped listening; rejects if it lost its listener for good. */
  get finished(): Promise<void> {
    return this.#listening.finished;
  }

  /** Stops: nothing new comes in, what was accepted is stored, and every client is told to reconnect. */
  drain(): Promise<void> {
    this.#isDraining = true;
    this.#draining ??= drain({
      sessions: this.#sessions,
      writer: this.store.writer,
      clock: this.#context.clock,
      shutdown: () => this.#listening.shutdown(),
    }).finally(() => {
      this.#stopped.abort();
      this.#maintenance.stop();
      if (this.options.kv === undefined) this.store.database.close();
    });
    return this.#draining;
  }

  get #listening(): Engine {
    if (this.#engine === null) throw new Error("the server does not listen yet");
    return this.#engine;
  }

  async #listen(): Promise<void> {
    try {
      this.#engine = await listen(
        this.config,
        (asked, remoteHost, upgrade) => this.#entrance.serve(asked, remoteHost, upgrade),
        { stopped: this.#stopped.signal, lost: () => this.metrics.counts.listenersLost++ },
      );
    } catch (error) {
      this.#maintenance.stop();
      throw error;
    }
    void this.#tick();
  }

  #connected({ address, codec }: Offer, identity: Identity, ended: () => void): Connected {
    return {
      opened: (socket) => {
        const session = new Session(this.#context, socket, address, codec, identity.expiresAt);
        if (this.#isDraining) session.close(CLOSE.goingAway, "the server is stopping");
        else this.#sessions.add(session);
        this.#confirmations.watch(session, identity);
        return session;
      },
      ended: (session) => {
        if (session !== null) {
          this.#sessions.delete(session);
          this.#confirmations.leave(session);
        }
        ended();
      },
    };
  }

  /** Looks after the sessions, and measures how late the event loop is. */
  async #tick(): Promise<void> {
    const { clock } = this.#context;
    while (!this.#isDraining) {
      const startedAt = performance.now();
      await sleep(clock, TICK_MS);
      this.metrics.loopLagSeconds.observe(Math.max(0, performance.now() - startedAt - TICK_MS) / 1_000);
      this.#entrance.sweep();
      const now = clock.monotonic();
      this.#confirmations.tick(now);
      this.#unseenWork.look(now);
      for (const session of this.#sessions) {
        try {
          session.tick(now);
        } catch (error) {
          log.error("incident: a session failed: {reason}", { reason: String(error) });
        }
      }
    }
  }
}

/**
 * The server: listens, upgrades what is admitted, keeps the sessions, and stops without losing anything.
 * @module
 */
import { type Clock, sleep, systemClock, withDeadline } from "../clock.ts";
import type { Config } from "../config.ts";
import { createAuthenticator } from "../identity/mod.ts";
import { logger } from "../log.ts";
import { Metrics } from "../metrics.ts";
import { CLOSE } from "../protocol/mod.ts";
import { createCore, createService, Maintenance } from "../service/mod.ts";
import { Session, type SessionContext } from "../session/mod.ts";
import { createStore, Database, loadSecret, openDatabase, type Store } from "../store/mod.ts";
import { Admission } from "./admission.ts";
import { drain } from "./drain.ts";
import { KeptListener } from "./kept_listener.ts";
import { listen } from "./listen.ts";
import { type Offer, readOffer } from "./offer.ts";
import { Refusal } from "./refusal.ts";
import { READY_MS, serveRoute } from "./routes.ts";
import { upgrade } from "./websocket.ts";

const log = logger("server");

/** How often sessions look at what depends on time. */
const TICK_MS = 1_000;

/** When a client whose connection was refused while the server stops may try again. */
const DRAINING_RETRY_SECONDS = 5;

/** What a test or an embedding program may bring along. */
export interface ServerOptions {
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** An open database that is shared with others, and closed by them. Default: what `kvPath` names. */
  readonly kv?: Deno.Kv;
}

/** A server that listens. */
export class MessagingServer {
  readonly #sessions = new Set<Session>();
  readonly #http: KeptListener;
  readonly #admission: Admission;
  readonly #maintenance: Maintenance;
  readonly #context: SessionContext;
  readonly #stopped = new AbortController();
  #isDraining = false;
  #draining: Promise<void> | null = null;

  private constructor(
    private readonly config: Config,
    clock: Clock,
    private readonly metrics: Metrics,
    private readonly store: Store,
    authenticator: ConstructorParameters<typeof Admission>[1],
    private readonly ownsDatabase: boolean,
  ) {
    const core = createCore(config, clock, metrics, store);
    this.#context = { service: createService(core), clock, config, metrics };
    this.#admission = new Admission(config, authenticator);
    this.#maintenance = new Maintenance(core);
    this.#http = this.#listen();
    this.#tick();
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
      ? await openDatabase(path, { clock, exclusive: true })
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
        options.kv === undefined,
      );
      log.info("listening on {url}, database {database}, AUTH_MODE={mode}", {
        url: server.url,
        database: database.description,
        mode: config.authMode,
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
    const { hostname, port } = this.#http.addr;
    const host = hostname.includes(":") ? `[${hostname}]` : hostname;
    return `${this.config.tlsCertFile === undefined ? "ws" : "wss"}://${host}:${port}`;
  }

  /** How many connections there are. */
  get connectionCount(): number {
    return this.#admission.count;
  }

  /** Resolves when the server has stopped listening; rejects if it lost its listener for good. */
  get finished(): Promise<void> {
    return this.#http.finished;
  }

  /** Stops: nothing new comes in, what was accepted is stored, and every client is told to reconnect. */
  drain(): Promise<void> {
    this.#isDraining = true;
    this.#draining ??= drain({
      sessions: this.#sessions,
      writer: this.store.writer,
      clock: this.#context.clock,
      shutdown: () => this.#http.shutdown(),
    }).finally(() => {
      this.#stopped.abort();
      this.#maintenance.stop();
      if (this.ownsDatabase) this.store.database.close();
    });
    return this.#draining;
  }

  #listen(): KeptListener {
    const onError = (error: unknown) => {
      log.error("a request failed: {reason}", {
        reason: error instanceof Error ? error.stack : String(error),
      });
      return new Refusal("internal", "a fault of the server").toResponse();
    };
    return new KeptListener(this.#context.clock, (port) => {
      const config = port === null ? this.config : { ...this.config, port };
      return listen(config, onError, (request, info) => this.#serve(request, info));
    });
  }

  async #serve(request: Request, { remoteAddr }: Deno.ServeHandlerInfo): Promise<Response> {
    const remoteHost = "hostname" in remoteAddr ? remoteAddr.hostname : null;
    try {
      const status = { isDraining: this.#isDraining, checkStorage: () => this.#checkStorage() };
      const context = { config: this.config, metrics: this.metrics, status };
      return await serveRoute(request, remoteHost, context) ?? await this.#connect(request);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      Metrics.count(this.metrics.refusals, error.status);
      return error.toResponse();
    }
  }

  async #connect(request: Request): Promise<Response> {
    const offer = readOffer(request);
    const origin = request.headers.get("origin");
    this.#requireServing();
    const { expiresAt } = await this.#admission.admit(offer, origin);
    try {
      this.#requireServing(); // it may have begun to stop while the token was verified
      return this.#upgrade(request, offer, expiresAt);
    } catch (error) {
      this.#admission.release(offer.address);
      throw error;
    }
  }

  #requireServing(): void {
    if (this.#isDraining) throw new Refusal("draining", "the server is stopping", DRAINING_RETRY_SECONDS);
  }

  #upgrade(request: Request, { address, codec, subprotocol }: Offer, expiresAt: number | null): Response {
    const idleTimeoutSeconds = Math.ceil(this.config.idlePingMs / 1_000);
    return upgrade(request, { subprotocol, idleTimeoutSeconds }, {
      opened: (socket) => {
        const session = new Session(this.#context, socket, address, codec, expiresAt);
        if (this.#isDraining) session.close(CLOSE.goingAway, "the server is stopping");
        else this.#sessions.add(session);
        return session;
      },
      stopped: this.#stopped.signal,
      ended: (session) => {
        if (session !== null) this.#sessions.delete(session);
        this.#admission.release(address);
      },
    });
  }

  async #checkStorage(): Promise<boolean> {
    const check = this.store.database.answers();
    return await withDeadline(this.#context.clock, check, READY_MS, false);
  }

  /** Looks after the sessions, and measures how late the event loop is. */
  async #tick(): Promise<void> {
    const { clock } = this.#context;
    while (!this.#isDraining) {
      const startedAt = performance.now();
      await sleep(clock, TICK_MS);
      this.metrics.loopLagSeconds.observe(Math.max(0, performance.now() - startedAt - TICK_MS) / 1_000);
      const now = clock.monotonic();
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

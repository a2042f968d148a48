/** A server in this process, on a fresh database file, with tokens for whoever a test needs. */
import { createServer, loadConfig, type MessagingServer } from "../../lib/mod.ts";
import type { Clock } from "../../lib/clock.ts";
import { signToken } from "../../lib/identity/mod.ts";

const SECRET = "a secret for tests, of more than 32 bytes";

/** Budgets that no test should meet by accident. */
const UNLIMITED = {
  RATE_SENDS: "off",
  RATE_PAIR: "off",
  RATE_PREKEYS: "off",
  RATE_CLAIMS: "off",
  RATE_REQUESTS: "off",
  RATE_REFUSALS: "off",
  RATE_CONNECTIONS: "off",
  RATE_REMOTE_CONNECTIONS: "off",
  RATE_USER_CONNECTIONS: "off",
  RATE_TAKEOVERS: "off",
  USER_CONNECTIONS_MAX: "1000",
};

/** The engine under test: the flows run once for each. */
export const WS_ENGINE = Deno.env.get("TEST_WS_ENGINE") ?? "deno";

/** Settings by the names of their environment variables; `kv` and `clock` as `createServer` takes them. */
export interface TestServerOptions {
  readonly settings?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  readonly kv?: Deno.Kv;
}

/** A running server, stopped at the end of its scope. */
export class TestServer implements AsyncDisposable {
  private constructor(
    readonly server: MessagingServer,
    readonly directory: string | null,
    readonly options: TestServerOptions,
  ) {}

  static async start(options: TestServerOptions, directory: string | null): Promise<TestServer> {
    const config = loadConfig({
      ...UNLIMITED,
      PORT: "0",
      WS_ENGINE,
      AUTH_SECRET: SECRET,
      KV_PATH: directory === null ? ":memory:" : `${directory}/messaging.kv`,
      ...options.settings,
    });
    const { clock, kv } = options;
    const server = await createServer(config, { ...(clock && { clock }), ...(kv && { kv }) });
    return new TestServer(server, directory, options);
  }

  /** Where clients connect. */
  get url(): string {
    return this.server.url;
  }

  /** The same for plain requests. */
  get httpUrl(): string {
    return this.url.replace(/^ws/, "http");
  }

  /** A token for a user, or for one device of it. */
  token(userId: string, deviceId?: number, ttlMs = 3_600_000): Promise<string> {
    return signTestToken(userId, deviceId, ttlMs, this.options.clock?.now());
  }

  /** Stops, and starts again on the same database. */
  async restart(): Promise<TestServer> {
    await this.server.drain();
    return await TestServer.start(this.options, this.directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.drain();
    if (this.directory !== null) await Deno.remove(this.directory, { recursive: true }).catch(() => {});
  }
}

/** Signs a token as every test server takes it. */
export function signTestToken(
  userId: string,
  deviceId?: number,
  ttlMs = 3_600_000,
  now: number = Date.now(),
): Promise<string> {
  const claims = { userId, ttlMs, ...(deviceId === undefined ? {} : { deviceId }) };
  return signToken(new TextEncoder().encode(SECRET), claims, now);
}

/** The environment of a server process that takes the tokens of `signTestToken`, with nothing limited. */
export const TEST_ENVIRONMENT: Readonly<Record<string, string>> = {
  ...UNLIMITED,
  WS_ENGINE,
  AUTH_SECRET: SECRET,
};

/** Starts a server in this process: on a fresh file, or on the `kv` that is given. */
export async function startServer(
  settings: Readonly<Record<string, string>> = {},
  options: Omit<TestServerOptions, "settings"> = {},
): Promise<TestServer> {
  const directory = options.kv === undefined ? await Deno.makeTempDir({ prefix: "messaging-test-" }) : null;
  return await TestServer.start({ ...options, settings }, directory);
}

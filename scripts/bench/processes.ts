/**
 * The processes that are measured: the server on a database file of its own, and the baselines.
 *
 * Invariant: every process that was started here is killed, and every folder removed, at the end and on Ctrl-C.
 * @module
 */
import { signToken } from "../../lib/identity/mod.ts";

const SECRET = "a secret for benchmarks, of more than 32 bytes";

/** Budgets are off, and mailboxes hold more than any scenario fills: the table says so. */
export const ENVIRONMENT = {
  HOST: "127.0.0.1",
  PORT: "0",
  AUTH_SECRET: SECRET,
  LOG_FORMAT: "json",
  RATE_SENDS: "off",
  RATE_PAIR: "off",
  RATE_PREKEYS: "off",
  RATE_CLAIMS: "off",
  RATE_REQUESTS: "off",
  RATE_CONNECTIONS: "off",
  RATE_USER_CONNECTIONS: "off",
  RATE_TAKEOVERS: "off",
  MAILBOX_MESSAGES_MAX: "1000000",
  MAILBOX_BYTES_MAX: "1GiB",
} as const;

/** How long a process may take until it listens. */
const START_MS = 30_000;

/** A process under measurement, ended with its scope. */
export interface Target extends AsyncDisposable {
  readonly name: string;
  /** Such as `ws://127.0.0.1:34567`. */
  readonly url: string;
  readonly pid: number;
  /** Where its inspector listens, if it has one. */
  readonly inspector: string | null;
  kill(signal: Deno.Signal): void;
}

/** A database folder, removed with its scope. */
export interface Folder extends Disposable {
  readonly path: string;
}

const children = new Set<Deno.ChildProcess>();
const folders = new Set<string>();

/** A token for a user, good for the whole run. */
export function benchToken(userId: string): Promise<string> {
  return signToken(new TextEncoder().encode(SECRET), { userId, ttlMs: 86_400_000 }, Date.now());
}

/** Ends everything that was started here. */
export function endAll(): void {
  for (const child of children) killQuietly(child, "SIGKILL");
  for (const path of folders) removeQuietly(path);
  children.clear();
  folders.clear();
}

function killQuietly(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // it has ended already
  }
}

function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch {
    // it is gone already
  }
}

/** Makes a folder for a database. */
export function makeFolder(): Folder {
  const path = Deno.makeTempDirSync({ prefix: "messaging-bench-" });
  folders.add(path);
  return {
    path,
    [Symbol.dispose](): void {
      removeQuietly(path);
      folders.delete(path);
    },
  };
}

/** Reads what a process says until it has told all its URLs; goes on reading, and shows what went wrong. */
function listen(
  child: Deno.ChildProcess,
  name: string,
  hasInspector: boolean,
): Promise<Pick<Target, "url" | "inspector">> {
  const { promise, resolve, reject } = Promise.withResolvers<Pick<Target, "url" | "inspector">>();
  const late = setTimeout(() => reject(new Error(`${name} does not listen`)), START_MS);
  const read = async () => {
    let text = "";
    const warnings = new Map<string, number>();
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
      text = (text + chunk).slice(-20_000);
      for (const line of chunk.split("\n")) {
        const message = /"level":"(?:ERROR|WARN|FATAL).*?"message":"(.*?)","logger/i.exec(line)?.[1];
        if (message === undefined) continue;
        warnings.set(message, (warnings.get(message) ?? 0) + 1);
        if (warnings.get(message) === 1) console.error(`${name}: ${message.slice(0, 300)}`);
      }
      const url = /(?<!Debugger )listening on \\?"?(ws:\/\/[0-9.]+:[0-9]+)/.exec(text)?.[1];
      const inspector = /Debugger listening on (ws:\S+)/.exec(text)?.[1] ?? null;
      if (url !== undefined && (inspector !== null || !hasInspector)) resolve({ url, inspector });
    }
    for (const [message, times] of warnings) {
      if (times > 1) console.error(`${name}: ${times} times: ${message.slice(0, 300)}`);
    }
    reject(new Error(`${name} ended:\n${text}`));
  };
  read().catch(reject);
  return promise.finally(() => clearTimeout(late));
}

async function start(
  name: string,
  options: { readonly program: string; readonly inspect: boolean; readonly arguments?: readonly string[] },
  env: Readonly<Record<string, string>>,
  folder: Folder | null,
): Promise<Target> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      ...(options.inspect ? ["--inspect=127.0.0.1:0"] : ["--quiet"]),
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-env",
      "--allow-sys",
      new URL(options.program, import.meta.url).pathname,
      ...(options.arguments ?? []),
    ],
    env,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  children.add(child);
  const end = async () => {
    killQuietly(child, "SIGKILL"); // a stopped process takes no other signal, and nothing here must last
    await child.status;
    children.delete(child);
    folder?.[Symbol.dispose]();
  };
  try {
    const { url, inspector } = await listen(child, name, options.inspect);
    const kill = (signal: Deno.Signal) => killQuietly(child, signal);
    return { name, url, inspector, pid: child.pid, kill, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}

/**
 * Starts the server.
 *
 * @param folder where its database is; goes with it.
 * @param settings by environment variable.
 */
export function startServer(
  folder: Folder,
  inspect = false,
  settings: Readonly<Record<string, string>> = ENVIRONMENT,
): Promise<Target> {
  const env = { ...settings, KV_PATH: databasePath(folder) };
  return start("server", { program: "../../main.ts", inspect }, env, folder);
}

/** Starts a server on a database that others share, as `kv` names it. */
export function startServerOn(kv: Readonly<Record<string, string>>): Promise<Target> {
  return start("server", { program: "../../main.ts", inspect: false }, { ...ENVIRONMENT, ...kv }, null);
}

/** A KV Connect server, and what a server process needs to use it. */
export interface KvServer extends AsyncDisposable {
  readonly pid: number;
  readonly settings: Readonly<Record<string, string>>;
}

/** Starts denokv on a fresh file. */
export async function startDenokv(program: string, options: readonly string[]): Promise<KvServer> {
  const folder = makeFolder();
  const child = new Deno.Command(program, {
    args: [`--sqlite-path=${folder.path}/denokv.sqlite`, "serve", "--addr=127.0.0.1:0", ...options],
    env: { DENO_KV_ACCESS_TOKEN: SECRET },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  children.add(child);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const late = setTimeout(() => reject(new Error("denokv does not listen")), START_MS);
  void (async () => {
    let text = "";
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
      text = (text + chunk).slice(-20_000);
      const url = /Listening on (http:\S+)/.exec(text)?.[1];
      if (url !== undefined) resolve(url);
    }
    reject(new Error(`denokv ended:\n${text}`));
  })();
  const url = await promise.finally(() => clearTimeout(late));
  const end = async () => {
    killQuietly(child, "SIGKILL");
    await child.status;
    children.delete(child);
    folder[Symbol.dispose]();
  };
  return {
    pid: child.pid,
    settings: { KV_PATH: url, DENO_KV_ACCESS_TOKEN: SECRET },
    [Symbol.asyncDispose]: end,
  };
}

/** The database file in a folder. */
export const databasePath = (folder: Folder): string => `${folder.path}/messaging.kv`;

/** Starts the bare relay. */
export function startRelay(): Promise<Target> {
  const options = { program: "./baselines/relay.ts", inspect: false, arguments: relayArguments() };
  return start("relay", options, {}, null);
}

/** How the relay gathers may be chosen, to compare: `BENCH_RELAY=--microtask`. */
function relayArguments(): readonly string[] {
  return (Deno.env.get("BENCH_RELAY") ?? "").split(" ").filter((word) => word !== "");
}

/** Starts a program of `scripts/`, which says `listening on ws://…` when it is under way. */
export function startProgram(name: string, program: string, words: readonly string[]): Promise<Target> {
  return start(name, { program, inspect: false, arguments: words }, {}, null);
}

/** Starts the bare WebSocket server. */
export function startEcho(inspect = false): Promise<Target> {
  return start("echo", { program: "./baselines/echo.ts", inspect }, {}, null);
}

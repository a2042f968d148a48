/**
 * The processes that are measured: the server on a fresh database file, and the bare relay.
 * @module
 */
import { signToken } from "../../lib/identity/mod.ts";

const SECRET = "a secret for benchmarks, of more than 32 bytes";

/** Budgets are off, and mailboxes hold more than any scenario fills: the table says so. */
const ENVIRONMENT = {
  HOST: "127.0.0.1",
  PORT: "0",
  AUTH_SECRET: SECRET,
  LOG_FORMAT: "json",
  RATE_SENDS: "off",
  RATE_PAIR: "off",
  RATE_PREKEYS: "off",
  RATE_CLAIMS: "off",
  RATE_REQUESTS: "off",
  MAILBOX_MESSAGES_MAX: "1000000",
  MAILBOX_BYTES_MAX: "1GiB",
};

/** A process under measurement, ended with its scope. */
export interface Target extends AsyncDisposable {
  readonly name: "server" | "relay";
  readonly url: string;
  readonly pid: number;
}

/** A token for a user, good for the whole run. */
export function benchToken(userId: string): Promise<string> {
  return signToken(new TextEncoder().encode(SECRET), { userId, ttlMs: 86_400_000 }, Date.now());
}

/** Reads a child's output until a line holds its URL. */
async function readUrl(output: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of output.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const url = /ws:\/\/[0-9.]+:[0-9]+/.exec(text)?.[0];
    if (url !== undefined) return url;
  }
  throw new Error(`the process ended before it listened:\n${text}`);
}

/** Starts the server, on a fresh file. */
export async function startServerProcess(): Promise<Target> {
  const directory = await Deno.makeTempDir({ prefix: "messaging-bench-" });
  const main = new URL("../../main.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-env",
      "--allow-sys",
      main,
    ],
    env: { ...ENVIRONMENT, KV_PATH: `${directory}/messaging.kv` },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const [forUrl, forErrors] = child.stderr.tee();
  void forErrors.pipeTo(new WritableStream({ write: (bytes) => reportErrors(bytes) })).catch(() => {});
  return {
    name: "server",
    url: await readUrl(forUrl),
    pid: child.pid,
    async [Symbol.asyncDispose](): Promise<void> {
      child.kill("SIGTERM");
      await child.status;
      await Deno.remove(directory, { recursive: true });
    },
  };
}

/** A benchmark of a server that reports errors measures something else: they are shown. */
function reportErrors(bytes: Uint8Array): void {
  const text = new TextDecoder().decode(bytes);
  if (/"level":"(ERROR|WARN)/.test(text)) console.error(text.trim());
}

/** Starts the bare relay. */
export async function startRelayProcess(): Promise<Target> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--allow-net", new URL("./relay.ts", import.meta.url).pathname],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  return {
    name: "relay",
    url: await readUrl(child.stdout),
    pid: child.pid,
    async [Symbol.asyncDispose](): Promise<void> {
      child.kill("SIGKILL");
      await child.status;
    },
  };
}

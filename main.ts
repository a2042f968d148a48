/**
 * The program: starts the server, prints a token for somebody who is to use it, or lists messages that were set aside.
 *
 * `main.ts` serves until it is told to stop; `main.ts token <userID|new>` prints a token; `main.ts aside` lists. `--help`
 * lists all settings.
 * @module
 */
import { Command, Option } from "commander";
import { parseDeviceId, parseUserId } from "./lib/address.ts";
import { systemClock } from "./lib/clock.ts";
import { type Config, ConfigError, loadConfig } from "./lib/config.ts";
import { kinds } from "./lib/setting_kinds.ts";
import { flagOf, type Setting, SETTINGS } from "./lib/settings.ts";
import { signingSecret, signToken } from "./lib/identity/mod.ts";
import { configureLog, logger } from "./lib/log.ts";
import { createServer } from "./lib/mod.ts";
import { ListenError } from "./lib/server/listen_error.ts";
import { type Database, DatabaseError, loadSecret, openDatabase, scanAside } from "./lib/store/mod.ts";
import { VERSION } from "./lib/version.ts";

/** Anything longer than draining can take: then the process ends all the same. */
const STOP_MS = 3_900;

/** How long a token may be good for. */
const ttl = kinds.duration(1_000, 3_650 * 86_400_000);

/** What the user typed can't be carried out: told without a stack. */
class UsageError extends Error {}

/** Adds every setting as a flag. */
function withSettings(command: Command): Command {
  for (const row of Object.values<Setting<unknown>>(SETTINGS)) {
    const initial = row.initial === undefined ? "" : `, default ${row.initial}`;
    command.addOption(new Option(`--${flagOf(row)} <value>`, `${row.help} [${row.env}${initial}]`));
  }
  return command;
}

/** The flags that were given, by environment variable. */
function givenFlags(command: Command): Record<string, string | undefined> {
  const given: Record<string, string | undefined> = command.opts();
  const camel = (flag: string) =>
    flag.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.values(SETTINGS).map((row) => [row.env, given[camel(flagOf(row))]]));
}

async function serve(config: Config): Promise<void> {
  await configureLog({
    level: config.logLevel,
    format: config.logFormat ?? (Deno.stderr.isTerminal() ? "pretty" : "json"),
  });
  const log = logger("server");
  // Nothing should come here; if it does, one conversation may suffer, and the others must not.
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log.error("incident: a rejection that nobody took: {reason}", {
      reason: String(event.reason?.stack ?? event.reason),
    });
  });
  const server = await createServer(config, { hasThreadToItself: true });
  const stop = (signal: Deno.Signal) => {
    log.info("{signal}: stopping", { signal });
    setTimeout(() => Deno.exit(0), STOP_MS);
    server.drain().then(() => Deno.exit(0));
  };
  let isStopping = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => {
      if (isStopping) return; // Ctrl-C may come twice
      isStopping = true;
      stop(signal);
    });
  }
  await server.finished.catch((error) => {
    log.error("the server lost its listener for good: {reason}", { reason: String(error) });
    if (!isStopping) Deno.exit(1);
  });
}

/** Works with the database beside a server that may be running on it. */
async function withDatabase<T>(config: Config, work: (database: Database) => Promise<T>): Promise<T> {
  const path = config.onDeploy ? undefined : config.kvPath;
  const database = await openDatabase(path, { clock: systemClock, exclusive: false });
  try {
    return await work(database);
  } finally {
    database.close();
  }
}

/** Lists the messages that wait behind their mailboxes, since their clients never dealt with them: one JSON a line. */
async function listAside(config: Config): Promise<void> {
  if (config.kvPath === ":memory:") throw new UsageError("KV_PATH=:memory: is for its own process alone");
  let count = 0;
  await withDatabase(
    config,
    (database) =>
      scanAside(database, (to, { from, messageId, timestamp, expiresAt, ciphertext }) => {
        if (expiresAt <= systemClock.now()) return;
        count++;
        const time = (ms: number) => new Date(ms).toISOString();
        console.log(JSON.stringify({
          to,
          from,
          messageId: messageId.toHex(),
          accepted: time(timestamp),
          expires: time(expiresAt),
          bytes: ciphertext.length,
        }));
      }),
  );
  console.error(`${count} ${count === 1 ? "message" : "messages"} set aside`);
}

/** Prints a token: alone on stdout, so that it can be used in a script; what belongs to it on stderr. */
async function printToken(
  config: Config,
  user: string,
  options: { readonly device?: string; readonly ttl: string },
): Promise<void> {
  if (config.authMode === "none") throw new UsageError("AUTH_MODE=none needs no tokens: connect without one");
  if (config.authMode !== "local") {
    throw new UsageError(
      `AUTH_MODE=${config.authMode} takes no tokens of this server: get one where accounts are`,
    );
  }
  const userId = user === "new" ? crypto.randomUUID() : parseUserId(user);
  if (userId === null) {
    throw new UsageError(`${JSON.stringify(user)} is no user ID: give a UUID of version 4, or new`);
  }
  const deviceId = options.device === undefined ? undefined : parseDeviceId(options.device);
  if (deviceId === null) throw new UsageError(`--device: found ${options.device}, allowed: 0 to 4294967295`);
  const ttlMs = ttl.read(options.ttl);
  if (ttlMs === undefined) throw new UsageError(`--ttl: found ${options.ttl}, allowed: ${ttl.allowed}`);
  const secret = await signingSecret(config, async () => {
    if (config.kvPath === ":memory:") {
      throw new UsageError(
        "KV_PATH=:memory: keeps no secret that a token could be signed with: set AUTH_SECRET",
      );
    }
    return await withDatabase(config, loadSecret);
  });
  const claims = { userId, ttlMs, ...(deviceId === undefined ? {} : { deviceId }) };
  const token = await signToken(secret, claims, Date.now());
  const devices = deviceId === undefined ? "every device" : `device ${deviceId}`;
  console.error(`user ${userId}, ${devices}, good for ${options.ttl}`);
  console.log(token);
}

/** The error as one should read it. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isForeseen = [ConfigError, DatabaseError, ListenError, UsageError].some((kind) =>
    error instanceof kind
  );
  return isForeseen ? error.message : error.stack ?? error.message;
}

if (import.meta.main) {
  const program = withSettings(new Command("messaging-server"))
    .description("Stores and forwards end-to-end-encrypted messages, and hands out the keys that start them.")
    .version(VERSION)
    .helpOption("--help", "list every setting")
    .addHelpText("after", "\nEvery flag is also an environment variable (in brackets); the flag wins.")
    .action(() => serve(loadConfig(Deno.env.toObject(), givenFlags(program))));
  program.command("token")
    .description("print a token for a user, or for a new one")
    .argument("<user>", "the user ID, or new")
    .option(
      "--device <number>",
      "the only device that the token is good for; default: every device of the user",
    )
    .option("--ttl <duration>", "how long it is good for", "30d")
    .action((user: string, options: { device?: string; ttl: string }) =>
      printToken(loadConfig(Deno.env.toObject(), givenFlags(program)), user, options)
    );
  program.command("aside")
    .description(
      "list the messages that were set aside, since their recipients' clients never dealt with them",
    )
    .action(() => listAside(loadConfig(Deno.env.toObject(), givenFlags(program))));
  try {
    await program.parseAsync(Deno.args, { from: "user" });
  } catch (error) {
    console.error(`messaging-server: ${explain(error)}`);
    Deno.exit(1);
  }
}

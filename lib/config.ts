/**
 * The settings of a server: read from the environment and the command line, and checked, all at once.
 * @module
 */
import { KV } from "./limits.ts";
import { flagOf, type Setting, type SettingName, SETTINGS } from "./settings.ts";

const KIB = 1024;

/** Every setting's value, and where the process runs. */
export type Config =
  & { readonly [K in SettingName]: typeof SETTINGS[K] extends Setting<infer T> ? T : never }
  & {
    /** Whether this is Deno Deploy, where the database and the address are the platform's. */
    readonly onDeploy: boolean;
  };

/** The settings are wrong: `problems` has a sentence for each. */
export class ConfigError extends Error {
  /** Tells it from other errors. */
  override readonly name = "ConfigError";

  /**
   * Gathers what is wrong.
   *
   * @param problems a sentence for each wrong setting: its name, what was found, what is allowed.
   */
  constructor(readonly problems: readonly string[]) {
    super(`wrong settings:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
  }
}

/** Whether a host name or address is this machine only. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" ||
    /^(::ffff:)?127(\.[0-9]{1,3}){3}$/i.test(host);
}

/** Whether a `KV_PATH` is a database that other processes use too, behind a KV Connect server. */
export function isKvConnect(kvPath: string): boolean {
  return /^https?:\/\//.test(kvPath);
}

/** The rules that concern more than one setting. */
function checkTogether(config: Config, wrong: ReadonlySet<string>, hasKvToken: boolean): string[] {
  const problems: string[] = [];
  if ((config.tlsCertFile === undefined) !== (config.tlsKeyFile === undefined)) {
    problems.push("TLS_CERT_FILE and TLS_KEY_FILE: only one is set; TLS needs both");
  }
  const lacksSecret = config.authSecretPrevious !== undefined && config.authSecret === undefined;
  if (lacksSecret && !wrong.has("AUTH_SECRET_PREVIOUS")) {
    problems.push("AUTH_SECRET_PREVIOUS: is set without AUTH_SECRET, the secret that signs now");
  }
  if (
    config.authMode === "none" && config.authNoneIUnderstand !== "yes" &&
    (config.onDeploy || !isLoopback(config.host))
  ) {
    const where = config.onDeploy ? "on Deno Deploy" : `with HOST=${config.host}`;
    problems.push(
      `AUTH_MODE: none ${where} lets anyone on the network be anyone; ` +
        "use HOST=127.0.0.1, or AUTH_MODE=local, or set AUTH_NONE_I_UNDERSTAND=yes",
    );
  }
  if (isKvConnect(config.kvPath) && !config.onDeploy && !hasKvToken) {
    problems.push(
      `KV_PATH: ${config.kvPath} is a KV Connect server, which needs its access token in DENO_KV_ACCESS_TOKEN`,
    );
  }
  problems.push(...checkProvider(config, wrong));
  if (config.onDeploy && config.wsEngine !== "deno") {
    problems.push(`WS_ENGINE: found "${config.wsEngine}", allowed: deno, the only one on Deno Deploy`);
  }
  if (config.preKeysLow > config.preKeysMax) {
    problems.push(
      `PREKEYS_LOW: found ${config.preKeysLow}, allowed: at most PREKEYS_MAX (${config.preKeysMax})`,
    );
  }
  const needed = Math.max(config.registerBytesMax, config.messagesBytesMax, config.messageBytesMax) + 8 * KIB;
  if (config.frameBytesMax < needed) {
    problems.push(
      `FRAME_BYTES_MAX: found ${config.frameBytesMax}, allowed: at least ${needed}, 8KiB more than the largest of ` +
        "REGISTER_BYTES_MAX, MESSAGES_BYTES_MAX and MESSAGE_BYTES_MAX",
    );
  }
  if (config.messageBytesMax > KV.valueBytesMax - 4 * KIB) {
    problems.push("MESSAGE_BYTES_MAX: more than a value holds");
  }
  return problems;
}

/** What each way to authenticate needs beside `AUTH_MODE`, and which URL it alone uses. */
const PROVIDER_MODES = {
  jwks: { url: "authJwksUrl", needed: ["authJwksUrl", "authIssuer", "authAudience"] },
  introspection: {
    url: "authIntrospectionUrl",
    needed: ["authIntrospectionUrl", "authClientId", "authClientSecret"],
  },
} as const;

/** The rules on identity providers: all is there, nothing is set in vain, and nobody can listen in. */
function checkProvider(config: Config, wrong: ReadonlySet<string>): string[] {
  const problems: string[] = [];
  for (const [mode, { url, needed }] of Object.entries(PROVIDER_MODES)) {
    const { env } = SETTINGS[url];
    const isUsed = config.authMode === mode;
    for (const name of isUsed ? needed : []) {
      if (config[name] === undefined) problems.push(`${SETTINGS[name].env}: AUTH_MODE=${mode} needs it`);
    }
    const set = config[url];
    if (set === undefined || wrong.has(env)) continue;
    if (!isUsed && !wrong.has("AUTH_MODE")) {
      problems.push(
        `${env}: is set, but AUTH_MODE=${config.authMode} does not use it; it needs AUTH_MODE=${mode}`,
      );
    }
    if (set.protocol === "http:" && !isLoopback(set.hostname) && config.authHttpIUnderstand !== "yes") {
      problems.push(
        `${env}: found an http URL beyond this machine, allowed: https; ` +
          "or set AUTH_HTTP_I_UNDERSTAND=yes where the network between is yours alone",
      );
    }
  }
  return problems;
}

/**
 * Reads the settings.
 *
 * @param env the environment, as `Deno.env.toObject()` gives it.
 * @param flags values given on the command line, by the name of the environment variable; they win.
 * @throws {ConfigError} with every problem, not only the first.
 */
export function loadConfig(
  env: Readonly<Record<string, string | undefined>> = {},
  flags: Readonly<Record<string, string | undefined>> = {},
): Config {
  const problems: string[] = [];
  const wrong = new Set<string>();
  const values: Record<string, unknown> = {
    onDeploy: env["DENO_DEPLOYMENT_ID"] !== undefined || /^(1|true)$/.test(env["DENO_DEPLOY"] ?? ""),
  };
  for (const [name, row] of Object.entries(SETTINGS)) {
    const flag = flags[row.env];
    // An empty variable is the same as none: that is how one takes a variable back in a compose file.
    const written = flag ?? (env[row.env] === "" ? undefined : env[row.env]) ?? row.initial;
    if (written === undefined) continue;
    const value = row.read(written);
    // For the rules that concern several, the default stands in for what can't be read.
    values[name] = value !== undefined ? value : row.read(row.initial ?? "") ?? written;
    if (value === undefined) {
      wrong.add(row.env);
      const found = row.secret
        ? `${new TextEncoder().encode(written).length} bytes`
        : JSON.stringify(written);
      const where = flag === undefined ? row.env : `--${flagOf(row)}`;
      problems.push(`${where}: found ${found}, allowed: ${row.allowed}`);
    }
  }
  // The table and the loop above fill every name that the type has.
  const config = values as Config;
  problems.push(...checkTogether(config, wrong, (env["DENO_KV_ACCESS_TOKEN"] ?? "") !== ""));
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

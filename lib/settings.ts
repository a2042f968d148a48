/**
 * The table of settings: each with its environment variable, its default and what it allows.
 *
 * It is the only place that names a setting; flags, help, checks and types are made from it.
 * @module
 */
import { DEFAULTS } from "./limits.ts";
import { type Kind, kinds } from "./setting_kinds.ts";

/** One row of the table of settings. */
export interface Setting<T> extends Kind<T> {
  /** The environment variable. */
  readonly env: string;
  /** What it is for, one sentence. */
  readonly help: string;
  /** The default as one would write it; `undefined` if there is none. */
  readonly initial: string | undefined;
  /** Whether the value must not be printed. */
  readonly secret: boolean;
}

function setting<T>(env: string, kind: Kind<T>, initial: string, help: string): Setting<T> {
  return { env, help, initial, secret: false, ...kind };
}

function optional<T>(env: string, kind: Kind<T>, help: string, secret = false): Setting<T | undefined> {
  return { env, help, initial: undefined, secret, ...kind };
}

const { choice, count, duration, rate, secretText, size, text } = kinds;
const KIB = 1024;

/** Every setting. */
export const SETTINGS = {
  host: setting(
    "HOST",
    text("a host name or IP address"),
    "127.0.0.1",
    "address to listen on (0.0.0.0: all)",
  ),
  port: setting("PORT", count(0, 65_535), "8080", "TCP port to listen on (0: any free one)"),
  kvPath: setting(
    "KV_PATH",
    text("a file path, :memory:, or the http(s) URL of a KV Connect server"),
    "./data/messaging.kv",
    "where the database is: a file, :memory:, or a URL (KV Connect, with DENO_KV_ACCESS_TOKEN); ignored on Deno Deploy",
  ),
  authMode: setting("AUTH_MODE", choice("local", "none"), "local", "how owners are known (none: not at all)"),
  authSecret: optional(
    "AUTH_SECRET",
    secretText(32),
    "signs and verifies tokens (HS256); default: made once and kept in the database",
    true,
  ),
  authSecretPrevious: optional(
    "AUTH_SECRET_PREVIOUS",
    secretText(32),
    "also verifies, while you rotate",
    true,
  ),
  authNoneIUnderstand: optional(
    "AUTH_NONE_I_UNDERSTAND",
    choice("yes"),
    "lets AUTH_MODE=none listen on an address that is not loopback: anyone is anyone",
  ),
  tlsCertFile: optional(
    "TLS_CERT_FILE",
    text("a file in PEM format"),
    "certificate chain; makes the server speak TLS",
  ),
  tlsKeyFile: optional("TLS_KEY_FILE", text("a file in PEM format"), "private key of the certificate"),
  wsEngine: setting(
    "WS_ENGINE",
    choice("deno", "ws"),
    "deno",
    "what reads HTTP and WebSockets: Deno itself, or the ws package (README, Which engine)",
  ),
  metricsToken: optional(
    "METRICS_TOKEN",
    secretText(16),
    "bearer token for /metrics; default: loopback only",
    true,
  ),
  logLevel: setting(
    "LOG_LEVEL",
    choice("debug", "info", "warning", "error"),
    "info",
    "least level that is logged",
  ),
  logFormat: optional(
    "LOG_FORMAT",
    choice("pretty", "json"),
    "default: pretty on a terminal, json elsewhere",
  ),

  connectionsMax: setting(
    "CONNECTIONS_MAX",
    count(1, 10_000_000),
    `${DEFAULTS.connectionsMax}`,
    "connections in all",
  ),
  userConnectionsMax: setting(
    "USER_CONNECTIONS_MAX",
    count(1, 100_000),
    `${DEFAULTS.userConnectionsMax}`,
    "connections of one user",
  ),
  idlePingMs: setting(
    "IDLE_PING",
    duration(2_000, 300_000),
    "30s",
    "an idle peer is pinged, and dropped if silent",
  ),
  frameBytesMax: setting(
    "FRAME_BYTES_MAX",
    size(1 * KIB, 64 * KIB * KIB),
    "1MiB",
    "a WebSocket message of a client",
  ),
  messageBytesMax: setting("MESSAGE_BYTES_MAX", size(1, 60 * KIB), "60KiB", "one ciphertext"),
  messagesBytesMax: setting(
    "MESSAGES_BYTES_MAX",
    size(1, 700 * KIB),
    "700KiB",
    "the ciphertexts of one UserMessages together",
  ),
  identityKeyBytesMax: setting("IDENTITY_KEY_BYTES_MAX", size(32, 1 * KIB), "1KiB", "an identity key"),
  keyBytesMax: setting("KEY_BYTES_MAX", size(32, 16 * KIB), "4KiB", "any other key blob"),
  registerBytesMax: setting(
    "REGISTER_BYTES_MAX",
    size(1 * KIB, 512 * KIB),
    "512KiB",
    "all key blobs of one Register",
  ),
  registerPreKeysMax: setting(
    "REGISTER_PREKEYS_MAX",
    count(1, 200),
    "200",
    "one-time prekeys in one Register",
  ),
  preKeysMax: setting(
    "PREKEYS_MAX",
    count(1, 500),
    `${DEFAULTS.preKeysMax}`,
    "one-time prekeys kept for a device",
  ),
  preKeysLow: setting(
    "PREKEYS_LOW",
    count(0, 500),
    `${DEFAULTS.preKeysLow}`,
    "fewer than this: the owner is asked",
  ),
  preKeysRequested: setting("PREKEYS_REQUESTED", count(1, 500), "20", "how many the owner is asked for"),
  preKeyOrder: setting(
    "PREKEY_ORDER",
    choice("fifo", "lifo"),
    "fifo",
    "whether the oldest or newest goes first",
  ),
  knownDevicesMax: setting(
    "KNOWN_DEVICES_MAX",
    count(1, 1_000),
    "200",
    "KnownDeviceIDs of one RequestPreKeys",
  ),
  devicesMax: setting("DEVICES_MAX", count(1, 50), "50", "devices of one user"),
  deviceUnseenMs: setting(
    "DEVICE_UNSEEN",
    duration(86_400_000, 3_650 * 86_400_000),
    "90d",
    "a device that has not connected for so long is unregistered",
  ),
  retentionMs: setting(
    "RETENTION",
    duration(1_000, 365 * 86_400_000),
    "30d",
    "how long a message is kept at most",
  ),
  mailboxMessagesMax: setting(
    "MAILBOX_MESSAGES_MAX",
    count(1, 8_000_000),
    "10000",
    "messages that wait for a device",
  ),
  mailboxBytesMax: setting(
    "MAILBOX_BYTES_MAX",
    size(64 * KIB, 16 * KIB ** 3),
    "64MiB",
    "bytes that wait for a device",
  ),

  rateSends: setting("RATE_SENDS", rate, "200/s:2000", "messages of one user"),
  ratePair: setting("RATE_PAIR", rate, "5/s:200", "messages of one user to one device, per started 4 KiB"),
  ratePreKeys: setting("RATE_PREKEYS", rate, "0.1/s:20", "prekey requests of one user for one device"),
  rateClaims: setting("RATE_CLAIMS", rate, "20/s:500", "prekeys given to one user"),
  rateRequests: setting(
    "RATE_REQUESTS",
    rate,
    "20/s:200",
    "Register, Unregister, RequestDevices, and RequestPreKeys with a ClaimID, of one user",
  ),
} as const;

/** The names of the settings in code. */
export type SettingName = keyof typeof SETTINGS;

/** The long flag of a setting, without its dashes: `KV_PATH` is `kv-path`. */
export function flagOf(setting: Setting<unknown>): string {
  return setting.env.toLowerCase().replaceAll("_", "-");
}

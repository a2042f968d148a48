/**
 * The table of settings: each with its environment variable, its default and what it allows.
 *
 * This and `auth_settings.ts` are the only places that name a setting; flags, help, checks and types are made from them.
 * @module
 */
import { AUTH_SETTINGS } from "./auth_settings.ts";
import { DEFAULTS } from "./limits.ts";
import { kinds, optional, type Setting, setting } from "./setting_kinds.ts";

export type { Setting } from "./setting_kinds.ts";

const { choice, count, duration, networks, rate, secretText, size, text } = kinds;
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
  kvEphemeralIUnderstand: optional(
    "KV_EPHEMERAL_I_UNDERSTAND",
    choice("yes"),
    "on Deno Deploy: starts without a database, on one that is lost whenever the platform likes",
  ),
  ...AUTH_SETTINGS,
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
  remoteConnectionsMax: setting(
    "REMOTE_CONNECTIONS_MAX",
    count(1, 10_000_000),
    `${DEFAULTS.remoteConnectionsMax}`,
    "connections from one remote address (IPv6: from one /64); this machine is exempt",
  ),
  trustedProxies: optional(
    "TRUSTED_PROXIES",
    networks,
    "proxies whose X-Forwarded-For is believed; default: none",
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
    "Register, Unregister, RequestDevices, and RequestPreKeys with a ClaimID or without a key, of one user",
  ),
  rateRefusals: setting(
    "RATE_REFUSALS",
    rate,
    "100/s:2000",
    "requests of one user that are refused unpaid; beyond it connections are closed with 4429",
  ),
  rateConnections: setting("RATE_CONNECTIONS", rate, "500/s:2000", "new connections in all"),
  rateRemoteConnections: setting(
    "RATE_REMOTE_CONNECTIONS",
    rate,
    "50/s:500",
    "new connections from one remote address",
  ),
  rateUserConnections: setting("RATE_USER_CONNECTIONS", rate, "1/s:40", "new connections of one user"),
  rateTakeovers: setting(
    "RATE_TAKEOVERS",
    rate,
    "0.2/s:10",
    "new connections of one device while it has another",
  ),
} as const;

/** The names of the settings in code. */
export type SettingName = keyof typeof SETTINGS;

/** The long flag of a setting, without its dashes: `KV_PATH` is `kv-path`. */
export function flagOf(setting: Setting<unknown>): string {
  return setting.env.toLowerCase().replaceAll("_", "-");
}

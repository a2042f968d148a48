/**
 * Every bound in one place. What an operator may set is in `config.ts`, with its default from here (protocol §6).
 * @module
 */

const KIB = 1024;
const MIB = 1024 * KIB;
const DAY_MS = 86_400_000;

/** Defaults of the limits that can be set. */
export const DEFAULTS = {
  messageBytesMax: 60 * KIB,
  messagesBytesMax: 700 * KIB,
  identityKeyBytesMax: 1 * KIB,
  keyBytesMax: 4 * KIB,
  registerBytesMax: 512 * KIB,
  registerPreKeysMax: 200,
  preKeysMax: 500,
  knownDevicesMax: 200,
  devicesMax: 50,
  frameBytesMax: 1 * MIB,
  retentionMs: 30 * DAY_MS,
  mailboxMessagesMax: 10_000,
  mailboxBytesMax: 64 * MIB,
  deviceUnseenMs: 90 * DAY_MS,
  idlePingMs: 30_000,
  userConnectionsMax: 20,
  connectionsMax: 50_000,
  preKeysLow: 10,
  preKeysRequested: 20,
} as const;

/** What the database takes, measured on Deno 2.9; the smaller value where backends differ. */
export const KV = {
  /** Bytes of one value. */
  valueBytesMax: 65_536,
  /** Mutations of one commit. */
  mutationsMax: 1_000,
  /** Bytes of one commit: keys and values. */
  commitBytesMax: 819_200,
  /** Bytes of all keys that one commit sets. */
  commitKeyBytesMax: 81_920,
  /** Checks of one commit; denokv takes no more. */
  checksMax: 10,
  /** Keys of one `getMany` or `watch`. */
  keysMax: 10,
} as const;

/** Headroom left under `KV` when a batch is filled, for what the database adds itself. */
export const BATCH = {
  mutationsMax: 900,
  bytesMax: 700_000,
  keyBytesMax: 72_000,
} as const;

/** Bounds on what waits inside the process. */
export const QUEUES = {
  /** Writes that wait in one lane of the writer. */
  laneWritesMax: 20_000,
  /** Bytes that wait in one lane of the writer. */
  laneBytesMax: 64 * MIB,
  /** Requests of one connection that are not answered yet: from here on no more are read, where the engine can … */
  unansweredBrake: 256,
  /** … above this they are refused … */
  unansweredMax: 512,
  /** … and above this the connection is closed. */
  unansweredCloseMax: 1_024,
  /** Bytes that wait for a peer that does not read, before it gets nothing but refusals. */
  outboxBytesMax: 4 * MIB,
  /** Messages delivered to one connection and not acknowledged. */
  windowMessagesMax: 256,
  /** Bytes delivered to one connection and not acknowledged. */
  windowBytesMax: 1 * MIB,
  /** Users whose device list is cached. */
  deviceListsMax: 20_000,
  /** Mailboxes whose depth is known. */
  depthsMax: 20_000,
  /** Token buckets of one kind of rate. */
  bucketsMax: 100_000,
} as const;

/** Deadlines, intervals and retries, in milliseconds. */
export const TIMES = {
  /** A commit or read that takes longer is answered with `unavailable`. */
  storageDeadlineMs: 5_000,
  /** How long a peer may leave its outbox over the bound. */
  slowPeerMs: 30_000,
  /** How old a cached device list may be. */
  deviceListMs: 5_000,
  /** How long acknowledged ids of an address are remembered after its connection ended. */
  acknowledgedMs: 10_000,
  /** How often an idle session looks at the head of its mailbox, jittered. */
  mailboxLookMs: 60_000,
  /** How long PreKeysLow is not repeated on a connection. */
  preKeysLowRepeatMs: 300_000,
  /** How far ahead of the clock ids are reserved. */
  idReserveMs: 60_000,
  /** How often the owner of an address rewrites its session record. */
  sessionRenewMs: 12 * 3_600_000,
  /** How long a session record, or a bell that nobody answered, lives. */
  sessionMs: DAY_MS,
  /** How long `expireIn` outlives the expiry in the value, which is what counts. */
  expirySlackMs: 60_000,
  /** How old a trash row must be: no send judged on the old installation is still under way. */
  trashAgeMs: 15_000,
  /** How often a connection writes down that its device was seen. */
  seenMs: DAY_MS,
  /** How long a replaced connection may take to flush before it is closed all the same. */
  replacedFlushMs: 1_000,
} as const;

/** The maximum of a token's length, far above any real one. */
export const TOKEN_BYTES_MAX = 8 * KIB;

/** The maximum of the description of an Error. */
export const DESCRIPTION_BYTES_MAX = 512;

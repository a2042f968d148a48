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
  remoteConnectionsMax: 1_000,
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

/** Rows that grow with what each batch adds: how large, so that SQLite keeps one in its page, and how many are known. */
export const GROWING = {
  rowBytesMax: 768,
  /** Bytes of a row's key, at most. */
  keyBytes: 96,
  rowsMax: 4_096,
  /** How long the database keeps a row that the janitor did not come to. */
  keptMs: 3 * 3_600_000,
} as const;

/** Bounds on what waits inside the process. */
export const QUEUES = {
  /** Writes that wait in one lane of the writer. */
  laneWritesMax: 20_000,
  /** Bytes that wait in one lane of the writer. */
  laneBytesMax: 64 * MIB,
  /** Requests of one connection that are not answered yet: from here on no more are read, where the engine can … */
  unansweredBrake: 256,
  /** … or from so many bytes of them on … */
  unansweredBrakeBytes: 2 * MIB,
  /** … above this they are refused … */
  unansweredMax: 512,
  /** … and above this the connection is closed. */
  unansweredCloseMax: 1_024,
  /** Requests of one user that are not answered, on all its connections: above this they are refused … */
  userUnansweredMax: 1_024,
  /** … and once there are so many bytes of them. */
  userUnansweredBytesMax: 4 * MIB,
  /** Bytes that wait for a peer that does not read, before it gets nothing but refusals. */
  outboxBytesMax: 4 * MIB,
  /** Messages delivered to one connection and not acknowledged. */
  windowMessagesMax: 256,
  /** Bytes delivered to one connection and not acknowledged. */
  windowBytesMax: 1 * MIB,
  /** Reads that connections make of their own device and mailbox, under way at a time in a process … */
  ownReadsMax: 64,
  /** … and those that wait for their turn: a few for each connection. */
  ownReadsWaitingMax: 200_000,
  /** Users whose device list is cached. */
  deviceListsMax: 20_000,
  /** Mailboxes whose depth is known. */
  depthsMax: 20_000,
  /** Token buckets of one kind of rate. */
  bucketsMax: 100_000,
} as const;

/** Messages that a client does not deal with. */
export const DELIVERY = {
  /** Connections on which a message was the oldest and was not dealt with, before it is moved behind its mailbox. */
  attemptsMax: 10,
  /** Messages that were moved behind and are delivered to one connection; they take no place in the window. */
  asideMessagesMax: 16,
  /** Bytes of these after which no more follow. */
  asideBytesMax: 256 * KIB,
  /** Messages that a client refused on one connection, and which take no place in the window any more. */
  refusedMessagesMax: 1_024,
  /** Bytes of these. */
  refusedBytesMax: 4 * MIB,
} as const;

/** What is of no use and comes on a connection, in units of `RATE_REFUSALS`: see `session/patience.ts`. */
export const PATIENCE = {
  /** A refused request takes one, and one more for so many bytes. */
  unitBytes: 16 * KIB,
  /** Acknowledgements of nothing that take one: old clients acknowledge answers as well. */
  ignoredPerUnit: 8,
  /** Whoever has used all of them up owes so many times what may be saved up of them. */
  debt: 2,
  /** The same for whoever kept the process busy unseen: it takes seconds to find out each time. */
  unseenDebt: 30,
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
  trashAgeMs: 600_000,
  /** How often a connection writes down that its device was seen. */
  seenMs: DAY_MS,
  /** How long a replaced connection may take to flush before it is closed all the same. */
  replacedFlushMs: 1_000,
} as const;

/** Bounds on what is asked of an identity provider, and on what is kept of its answers. */
export const PROVIDER = {
  /** How long a question may take, its wait for a turn included. */
  deadlineMs: 5_000,
  /** How long a question may wait for its turn. */
  turnMs: 2_000,
  /** How far ahead the provider's clock may be. */
  clockSkewMs: 5_000,
  /** Bytes of a key set. */
  keySetBytesMax: 256 * KIB,
  /** Keys of a key set. */
  keysMax: 100,
  /** A key set of this age is fetched again, beside the work … */
  keySetFreshMs: 300_000,
  /** … of this age, before it is used … */
  keySetStaleMs: 900_000,
  /** … and of this age it is not used any more, even if there is no other. */
  keySetKeptMs: DAY_MS,
  /** From the end of one request for the key set to the next … */
  keySetCoolDownMs: 30_000,
  /** … and while there are no keys at all: a provider that started together with us is soon there. */
  keySetMissingMs: 5_000,
  /** Bytes of an answer on one token. */
  answerBytesMax: 64 * KIB,
  /** Questions under way at a time. */
  questionsMax: 50,
  /** Of those, for new connections, and for open ones: neither may keep the other out. */
  questionsOfAKindMax: 40,
  /** Questions that wait for their turn. */
  questionsWaitingMax: 1_000,
  /** After so many failures in a row … */
  failuresMax: 10,
  /** … nobody asks for so long: thousands of open connections must not batter a provider that is down. */
  pauseMs: 1_000,
  /** Questions a second for tokens from one remote address, and the most saved up. */
  addressQuestions: 10,
  /** Remote addresses whose questions are counted. */
  addressesMax: 10_000,
  /** How long a token counts as good without being asked about again … */
  acceptedMs: 60_000,
  /** … and as bad. */
  refusedMs: 10_000,
  /** Good tokens that are remembered, and bad ones. */
  verdictsMax: 20_000,
  /** How often a token is asked about while its connection is open; up to a quarter is added at random. */
  confirmMs: 60_000,
  /** The same after a question that nobody could answer. */
  confirmRetryMs: 10_000,
  /** How long a connection outlasts the last time that its token was found good. */
  unconfirmedMs: 900_000,
} as const;

/** The maximum of a token's length, far above any real one. */
export const TOKEN_BYTES_MAX = 8 * KIB;

/** The maximum of the description of an Error. */
export const DESCRIPTION_BYTES_MAX = 512;

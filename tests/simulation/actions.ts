/** What clients do, one thing at a time: chosen by the seed from what makes sense, and from some that does not. */
import type { Address } from "../../lib/address.ts";
import type { DeviceKeys, UserDevice } from "../../lib/domain.ts";
import type { Client } from "./client.ts";
import type { Evidence } from "./evidence.ts";
import type { Random } from "./random.ts";
import { ciphertextOf, type Send } from "./sends.ts";
import type { ServerProcess } from "./server_process.ts";

/** What an action works with. */
export interface Stage {
  readonly random: Random;
  readonly evidence: Evidence;
  readonly clients: readonly Client[];
  /** The processes that take connections. */
  readonly processes: readonly ServerProcess[];
}

type Action = (client: Client, stage: Stage) => void;

/** How often a send is tried again. */
const ATTEMPTS_MAX = 4;

const PREKEYS = { most: 12, bytes: 8 } as const;

const deviceName = ({ userId, deviceId }: Address) => `${userId}/${deviceId}`;

/** The message of a version 2 send, kept so that a repeat is the same. */
const repeats = new WeakMap<Send, () => void>();

function preKeys(random: Random): Uint8Array[] {
  return Array.from({ length: random.below(PREKEYS.most) }, () => random.bytes(PREKEYS.bytes));
}

function newInstallation(random: Random): DeviceKeys {
  return {
    registrationId: random.uint32(),
    identityKey: random.bytes(8),
    signedPreKey: random.bytes(8),
    preKeys: preKeys(random),
    replace: false,
  };
}

function register(client: Client, keys: DeviceKeys): void {
  client.keys = keys;
  if (client.registration === "no") client.registration = "perhaps";
  client.request({ type: "register", keys: { ...keys, replace: client.version === 2 && keys.replace } }, {
    what: "register",
  });
}

/** A message's size: small mostly, and at times large enough to fill a window. */
function filling(random: Random): Uint8Array {
  return new Uint8Array(random.chance(0.02) ? random.below(40_000) : random.below(200));
}

/** Sends a message to one of the devices. */
export function sendOne(client: Client, { random, evidence, clients }: Stage): void {
  const to = random.pick(clients)?.address;
  if (to === undefined) return;
  const isCurrent = client.version === 2;
  const transient = isCurrent && random.chance(0.1);
  const send = evidence.sends.begin({
    from: deviceName(client.address),
    toUserId: to.userId,
    toDevices: [deviceName(to)],
    isToAll: false,
    listedOnly: false,
    transient,
  });
  const message = {
    to,
    transient,
    ttlSeconds: isCurrent ? random.pick([0, 0, 0, 20, 120, 1_800, 7_200]) ?? 0 : 0,
    ciphertext: ciphertextOf(send.token, filling(random)),
    ...(isCurrent ? { messageId: random.bytes(16) } : {}),
  };
  const go = (retry: boolean) =>
    client.request({ type: "user_message", message: { ...message, retry } }, { what: "send", send });
  repeats.set(send, () => go(true));
  go(false);
}

/** To all devices of a user, as the client knows them; it does not always know them right. */
function sendAll(client: Client, { random, evidence, clients }: Stage): void {
  const userId = random.pick(clients)?.address.userId;
  if (userId === undefined) return;
  const known = client.lists.get(userId);
  if (known === undefined) return client.request({ type: "request_devices", userId }, { what: "devices" });
  const isOther = ({ deviceId }: UserDevice) =>
    userId !== client.address.userId || deviceId !== client.address.deviceId;
  let named = known.filter(isOther);
  const listedOnly = random.chance(0.15);
  if (listedOnly) named = named.slice(0, 1);
  if (named.length === 0) return client.request({ type: "request_devices", userId }, { what: "devices" });
  const send = evidence.sends.begin({
    from: deviceName(client.address),
    toUserId: userId,
    toDevices: named.map(({ deviceId }) => deviceName({ userId, deviceId })),
    isToAll: true,
    listedOnly,
    transient: false,
  });
  const messages = {
    userId,
    messageId: random.bytes(16),
    transient: false,
    listedOnly,
    ttlSeconds: random.pick([0, 0, 60, 1_800]) ?? 0,
    devices: named.map(({ deviceId, registrationId }) => ({
      deviceId,
      registrationId,
      ciphertext: ciphertextOf(send.token, filling(random)),
    })),
  };
  const go = (retry: boolean) =>
    client.request({ type: "user_messages", messages: { ...messages, retry } }, { what: "send", send });
  repeats.set(send, () => go(true));
  go(false);
}

/** What a connected client may do. */
const ACTIONS = {
  sendOne,
  sendAll: (client, stage) => client.version === 2 ? sendAll(client, stage) : sendOne(client, stage),
  burst(client, stage) {
    for (let i = stage.random.below(40); i >= 0; i--) sendOne(client, stage);
  },
  repeat(client) {
    const send = client.unsettled[0];
    if (send === undefined) return;
    if (send.attempts.length >= ATTEMPTS_MAX) client.unsettled.shift();
    else repeats.get(send)?.();
  },
  /** Several ask for the same keys at once. */
  claimTogether(_, { random, clients }) {
    const userId = random.pick(clients)?.address.userId;
    if (userId === undefined) return;
    for (const client of clients) {
      const request = {
        userId,
        knownDeviceIds: [],
        ...(client.version === 2 ? { claimId: random.bytes(16) } : {}),
      };
      client.request({ type: "request_prekeys", request }, { what: "claim" });
    }
  },
  claim(client, { random, clients }) {
    const userId = random.pick(clients)?.address.userId ?? client.address.userId;
    const isRepeat = client.lastClaim !== null && random.chance(0.4);
    const claim = isRepeat ? client.lastClaim : { userId, claimId: random.bytes(16) };
    if (claim === null) return;
    client.lastClaim = claim;
    const identified = client.version === 2 && random.chance(0.8) ? { claimId: claim.claimId } : {};
    const request = { userId: claim.userId, knownDeviceIds: [], ...identified };
    client.request({ type: "request_prekeys", request }, { what: "claim" });
  },
  upload(client, { random }) {
    const { keys } = client;
    if (keys === null) return register(client, newInstallation(random));
    // At times the same ones again: the answer to the first upload was lost.
    const isRepeat = random.chance(0.5);
    const signedPreKey = random.chance(0.3) ? random.bytes(8) : keys.signedPreKey;
    register(client, {
      ...keys,
      signedPreKey,
      preKeys: isRepeat ? [...keys.preKeys] : [...keys.preKeys.slice(-3), ...preKeys(random)],
      replace: random.chance(0.2),
    });
  },
  reinstall: (client, { random }) => register(client, newInstallation(random)),
  unregister: (client) => client.request({ type: "unregister" }, { what: "unregister" }),
  unregisterOther(client, { random, clients }) {
    const others = clients.filter((other) =>
      other !== client && other.address.userId === client.address.userId
    );
    const other = random.pick(others);
    if (client.version === 1 || other === undefined) return;
    other.registration = "no";
    other.keys = null;
    client.request({ type: "unregister", deviceId: other.address.deviceId }, { what: "devices" });
  },
  leave: (client) => client.connection?.clientCloses(),
  cut: (client) => client.connection?.cut(),
  takeOver: connect,
  pause(client, { random, evidence }) {
    if (client.connection !== null) {
      client.connection.pausedUntil = evidence.scheduler.elapsed + random.between(0, 20_000);
    }
  },
} satisfies Record<string, Action>;

const WEIGHTS: Readonly<Record<keyof typeof ACTIONS, number>> = {
  sendOne: 40,
  sendAll: 15,
  burst: 1.5,
  repeat: 12,
  claim: 7,
  claimTogether: 1,
  upload: 6,
  reinstall: 0.4,
  unregister: 0.2,
  unregisterOther: 0.2,
  leave: 2,
  cut: 3,
  takeOver: 2.5,
  pause: 0.5,
};

/** Connects to one of the processes. */
export function connect(client: Client, { random, processes }: Stage): void {
  const process = random.pick(processes);
  if (process !== undefined) client.connect(process);
}

/** A client does something. */
export function act(client: Client, stage: Stage): void {
  if (client.connection === null) return connect(client, stage);
  if (!client.isConnected) return;
  if (client.registration !== "yes" && stage.random.chance(0.8)) {
    return register(client, client.keys ?? newInstallation(stage.random));
  }
  ACTIONS[stage.random.weighted(WEIGHTS)](client, stage);
}

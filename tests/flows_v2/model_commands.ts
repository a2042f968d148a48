/** What may happen, in any order: each command does it to the real ones and to the model, and compares. */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { refused } from "../support/peer.ts";
import { newId, numbered, numberOf, range } from "../support/peer_keys.ts";
import type { DeviceModel, Model, Real } from "./model.ts";

type Command = fc.AsyncCommand<Model, Real>;

const MINUTE_MS = 60_000;
const RETENTION_MS = 30 * 86_400_000;
const TRANSIENT_MS = 10_000;

/** Makes a command, which is compared with the model when it is done. */
function command(
  name: string,
  isPossible: (model: Model) => boolean,
  carryOut: (model: Model, real: Real) => Promise<void>,
): Command {
  return {
    check: isPossible,
    run: async (model, real) => {
      await carryOut(model, real);
      await real.check(model);
    },
    toString: () => name,
  };
}

export function connect(deviceId: number, version: 1 | 2, server: number): Command {
  return command(`connect(${deviceId}, v${version}, server ${server})`, () => true, async (model, real) => {
    const device = model.device(deviceId);
    const before = real.connections.get(deviceId);
    await real.settle();
    const peer = await real.connect(deviceId, version, server);
    device.connect(version, real.clock.now());
    if (before !== undefined) assert.equal(await before.ended(), 4409);
    if (version === 1) return;
    const { registrationId, preKeysStored } = await peer.hello();
    assert.equal(registrationId ?? 0, device.registrationId);
    assert.equal(preKeysStored, device.pool.length);
    assert.equal(await peer.queueEmpty(), device.lost, "what was lost");
  });
}

export function disconnect(deviceId: number, isOrderly: boolean): Command {
  const isPossible = (model: Model) => model.device(deviceId).isConnected;
  return command(`${isOrderly ? "leave" : "cut"}(${deviceId})`, isPossible, async (model, real) => {
    const peer = real.connection(deviceId);
    await (isOrderly ? peer.leave() : peer.vanish());
    real.connections.delete(deviceId);
    const device = model.device(deviceId);
    if (isOrderly) device.react();
    device.disconnect();
  });
}

export function register(deviceId: number, isNew: boolean, count: number, replace: boolean): Command {
  const isPossible = (model: Model) => model.device(deviceId).isConnected;
  const name = `${isNew ? "install" : "upload"}(${deviceId}, ${count}${replace ? ", replace" : ""})`;
  return command(name, isPossible, async (model, real) => {
    const device = model.device(deviceId);
    device.react();
    if (isNew || device.registrationId === 0) device.install(real.next());
    // Some that were uploaded before, used or not, and some that are new.
    const keys = [...device.uploaded.slice(-2), ...range(count).map(() => real.next())];
    const isReplacing = replace && device.version === 2;
    const { registrationId } = device;
    const preKeys = keys.map((key) => numbered(key));
    const ack = await real.connection(deviceId).register({ registrationId, preKeys, replace: isReplacing });
    const outcome = device.upload(keys, isReplacing);
    if (device.version === 2) assert.deepEqual(ack, outcome);
  });
}

export function unregister(deviceId: number, by: number): Command {
  const isPossible = (model: Model) => {
    const device = model.device(by);
    if (!device.isConnected) return false;
    if (by === deviceId) return true;
    // One that is connected and not registered is disconnected as well if it is at the same server: left open here.
    const other = model.device(deviceId);
    return device.version === 2 && (other.registrationId > 0 || !other.isConnected);
  };
  return command(`unregister(${deviceId}, by ${by})`, isPossible, async (model, real) => {
    model.device(by).react();
    const other = by === deviceId ? {} : { deviceId };
    await real.connection(by).ask({ type: "unregister", ...other });
    const device = model.device(deviceId);
    device.install(0);
    if (by === deviceId || !device.isConnected) return;
    assert.equal(await real.connection(deviceId).ended(), 4401);
    real.connections.delete(deviceId);
    device.disconnect();
  });
}

/** What is kept for the recipients of a send. */
interface Life {
  readonly ttlSeconds: number;
  readonly transient: boolean;
}

function accept(
  devices: readonly DeviceModel[],
  n: number,
  at: number,
  { ttlSeconds, transient }: Life,
): void {
  const keptMs = transient ? TRANSIENT_MS : RETENTION_MS;
  const livesMs = ttlSeconds === 0 ? keptMs : Math.min(keptMs, ttlSeconds * 1_000);
  for (const device of devices) device.accept({ n, expiresAt: at + livesMs, transient });
}

export function send(sender: number, deviceId: number, life: Life): Command {
  const how = sender === 2 ? { ttlSeconds: 0, transient: false } : life;
  const name = `send(${sender} to ${deviceId}, ${JSON.stringify(how)})`;
  return command(name, () => true, async (model, real) => {
    const device = model.device(deviceId);
    const [n, messageId] = [real.next(), newId()];
    model.senders.set(n, sender);
    const sending = real.sender(sender).send({ userId: real.userId, deviceId }, n, { ...how, messageId });
    if (device.registrationId === 0) {
      await refused(model.registered.length === 0 ? 101 : 102, sending);
      return;
    }
    const at = (await sending).at || real.clock.now();
    accept([device], n, at, how);
    if (sender === 0) model.repeatable = { messageId, n, to: deviceId, at };
  });
}

export function sendToAll(sender: number, life: Life): Command {
  return command(`sendToAll(${sender}, ${JSON.stringify(life)})`, () => true, async (model, real) => {
    const [n, messageId] = [real.next(), newId()];
    model.senders.set(n, sender);
    const list = model.list();
    const sending = real.sender(sender).sendToUser(real.userId, list, n, { ...life, messageId });
    if (model.registered.length === 0) return void await refused(101, sending);
    const { at } = await sending;
    accept(model.registered, n, at, life);
    if (sender === 0) model.repeatable = { messageId, n, to: list, at };
  });
}

export function sendToWrongList(sender: number, addsDevice: boolean): Command {
  const isPossible = (model: Model) => model.registered.length > 0;
  return command(`sendToWrongList(${sender}, ${addsDevice})`, isPossible, async (model, real) => {
    const list = model.list();
    const [first] = Object.keys(list).map(Number);
    assert.ok(first !== undefined);
    if (addsDevice) list[77] = 1;
    else delete list[first];
    const { mismatch } = await refused(107, real.sender(sender).sendToUser(real.userId, list, real.next()));
    assert.deepEqual(mismatch?.extra, addsDevice ? [77] : []);
    assert.deepEqual(mismatch?.missing.map(({ deviceId }) => deviceId), addsDevice ? [] : [first]);
  });
}

export function repeat(): Command {
  return command("repeat", (model) => model.repeatable !== null, async (model, real) => {
    const { repeatable } = model;
    if (repeatable === null) return;
    const { messageId, n, to, at } = repeatable;
    // From an hour on it may be known or not, for ten minutes.
    if (real.clock.now() - at > 59 * MINUTE_MS) return;
    const how = { messageId, retry: true };
    const sending = typeof to === "number"
      ? real.sender(0).send({ userId: real.userId, deviceId: to }, n, how)
      : real.sender(0).sendToUser(real.userId, to, n, how);
    assert.deepEqual(await sending, { at, fullDeviceIds: [] });
  });
}

export function acknowledge(deviceId: number, share: number): Command {
  const isPossible = (model: Model) => {
    const device = model.device(deviceId);
    return device.isConnected && device.mailbox.length > 0;
  };
  return command(`acknowledge(${deviceId}, ${share})`, isPossible, async (model, real) => {
    const device = model.device(deviceId);
    const peer = real.connection(deviceId);
    // Not in order: every third, or all.
    const some = device.mailbox.filter((_, i) => share === 1 || i % 3 === share % 3).map(({ n }) => n);
    for (const n of some) peer.acknowledgeNumber(n);
    await peer.bundles(crypto.randomUUID()).catch(() => {});
    device.mailbox = device.mailbox.filter(({ n }) => !some.includes(n));
    device.react();
  });
}

export function claim(sender: number): Command {
  return command(`claim(${sender})`, () => true, async (model, real) => {
    const claimId = newId();
    const claiming = real.sender(sender).bundles(real.userId, sender === 2 ? undefined : claimId);
    if (model.registered.length === 0) return void await refused(101, claiming);
    const bundles = await claiming;
    assert.equal(bundles.length, model.registered.length);
    for (const { deviceId, registrationId, preKey } of bundles) {
      const device = model.device(deviceId);
      assert.equal(registrationId, device.registrationId);
      const key = device.pool.shift() ?? null;
      assert.equal(preKey === null ? null : numberOf(preKey), key);
      if (key !== null) device.used.add(key);
    }
    if (sender !== 2) assert.deepEqual(await real.sender(sender).bundles(real.userId, claimId), bundles);
  });
}

export function letTimePass(ms: number): Command {
  return command(`letTimePass(${ms / 1_000} s)`, () => true, (_, real) => {
    real.clock.advance(ms);
    return Promise.resolve();
  });
}

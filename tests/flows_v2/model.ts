/** What should be true of a user with two devices, and of those who write to it: the model, and the real ones beside it. */
import assert from "node:assert/strict";
import type { AdvancingClock } from "../support/advancing_clock.ts";
import { eventually } from "../support/eventually.ts";
import { Peer } from "../support/peer.ts";
import { range } from "../support/peer_keys.ts";
import type { TestServer } from "../support/server.ts";

/** A message that was accepted, and is neither acknowledged nor gone. */
interface Waiting {
  readonly n: number;
  readonly expiresAt: number;
  readonly transient: boolean;
}

/** A send that can be repeated. */
export interface Repeatable {
  readonly messageId: Uint8Array;
  readonly n: number;
  /** The device it went to, or the list of all. */
  readonly to: number | Readonly<Record<number, number>>;
  readonly at: number;
}

/** One device as it should be. */
export class DeviceModel {
  /** 0: not registered. */
  registrationId = 0;
  pool: number[] = [];
  used = new Set<number>();
  uploaded: number[] = [];
  mailbox: Waiting[] = [];
  lost = 0;
  version: 1 | 2 | null = null;
  /** What should have come on this connection. */
  expected: number[] = [];
  /** What its QueueEmpty said and it has not reacted to. */
  told = 0;

  constructor(readonly deviceId: number) {}

  get isConnected(): boolean {
    return this.version !== null;
  }

  /** A new installation, or none: what belonged to the one before is gone. */
  install(registrationId: number): void {
    this.registrationId = registrationId;
    this.pool = [];
    this.used = new Set();
    this.uploaded = [];
    this.mailbox = [];
    this.lost = this.told = 0;
  }

  /** Adds to the pool; tells how many were new. */
  upload(keys: readonly number[], replace: boolean): { stored: number; skipped: number } {
    const fresh = keys.filter((key) => !this.pool.includes(key) && !this.used.has(key));
    if (replace) this.pool = this.pool.filter((key) => keys.includes(key));
    this.pool.push(...fresh);
    this.uploaded.push(...fresh);
    return { stored: fresh.length, skipped: keys.length - fresh.length };
  }

  /** A message was accepted for it. */
  accept(message: Waiting): void {
    this.mailbox.push(message);
    if (this.isConnected) this.expected.push(message.n);
  }

  /** It connects: what has expired is lost, the rest comes. */
  connect(version: 1 | 2, now: number): void {
    const expired = this.mailbox.filter(({ expiresAt }) => expiresAt <= now);
    this.lost += expired.filter(({ transient }) => !transient).length;
    this.mailbox = this.mailbox.filter(({ expiresAt }) => expiresAt > now);
    this.version = version;
    this.expected = this.mailbox.map(({ n }) => n);
    this.told = version === 2 ? this.lost : 0;
  }

  disconnect(): void {
    this.version = null;
    this.told = 0;
  }

  /** It sent something: so it heard what it was told. */
  react(): void {
    this.lost -= this.told;
    this.told = 0;
  }
}

/** The model of everything. */
export class Model {
  readonly devices = [new DeviceModel(1), new DeviceModel(2)];
  repeatable: Repeatable | null = null;
  /** Who sent each message. */
  readonly senders = new Map<number, number>();

  get registered(): DeviceModel[] {
    return this.devices.filter(({ registrationId }) => registrationId > 0);
  }

  device(deviceId: number): DeviceModel {
    const device = this.devices.find((each) => each.deviceId === deviceId);
    assert.ok(device);
    return device;
  }

  /** All devices with their registration IDs, as a send must name them. */
  list(): Record<number, number> {
    return Object.fromEntries(
      this.registered.map(({ deviceId, registrationId }) => [deviceId, registrationId]),
    );
  }
}

/** The real ones. */
export class Real implements AsyncDisposable {
  readonly userId = crypto.randomUUID();
  readonly connections = new Map<number, Peer>();
  #next = 0;

  private constructor(
    readonly servers: readonly TestServer[],
    readonly clock: AdvancingClock,
    /** The first two speak version 2, the last one version 1. */
    readonly senders: readonly Peer[],
  ) {}

  static async open(servers: readonly TestServer[], clock: AdvancingClock): Promise<Real> {
    const senders = await Promise.all(
      range(3).map((i) => Peer.connect(serverAt(servers, i), { version: i === 2 ? 1 : 2, now: clock.now() })),
    );
    return new Real(servers, clock, senders);
  }

  /** A number that no message, key or registration ID had before. */
  next(): number {
    return ++this.#next;
  }

  sender(index: number): Peer {
    const sender = this.senders[index];
    assert.ok(sender);
    return sender;
  }

  connection(deviceId: number): Peer {
    const connection = this.connections.get(deviceId);
    assert.ok(connection);
    return connection;
  }

  /** Waits until what was counted for this user is written. */
  async settle(): Promise<void> {
    await this.sender(0).sendToUser(this.userId, {}, 0, { listedOnly: true }).catch(() => {});
  }

  async connect(deviceId: number, version: 1 | 2, at: number): Promise<Peer> {
    const { userId } = this;
    const how = { userId, deviceId, version, acknowledges: false, now: this.clock.now() };
    const peer = await Peer.connect(serverAt(this.servers, at), how);
    this.connections.set(deviceId, peer);
    return peer;
  }

  /** Sees that every connection got what it should, and nothing else. */
  async check(model: Model): Promise<void> {
    for (const device of model.devices) {
      const peer = this.connections.get(device.deviceId);
      assert.equal(peer !== undefined, device.isConnected);
      if (this.servers.length === 1) await peer?.untilNumbers(device.expected);
      else if (peer !== undefined) await this.#checkBySender(model, peer, device.expected);
    }
  }

  /** Between servers the order is that of their clocks; of one sender it is kept. */
  async #checkBySender(model: Model, peer: Peer, expected: readonly number[]): Promise<void> {
    await eventually("messages", () => peer.messages.length >= expected.length).catch(() => {});
    const bySender = (numbers: readonly number[]) =>
      range(this.senders.length).map((sender) => numbers.filter((n) => model.senders.get(n) === sender));
    assert.deepEqual(bySender(peer.numbers), bySender(expected));
    assert.equal(peer.numbers.length, expected.length);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.senders, ...this.connections.values()].map((peer) => peer.vanish()));
  }
}

function serverAt(servers: readonly TestServer[], index: number): TestServer {
  const server = servers[index % servers.length];
  assert.ok(server);
  return server;
}

/** A device on a server in another process: it registers, sends numbers, and keeps the numbers that it gets. */
import { Connection, type DeviceAddress } from "../../lib/client/mod.ts";
import { keysOf, numbered, numberOf } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { signTestToken } from "../support/server.ts";

/** Who connects, and how. */
export interface MemberOptions {
  /** Default: a new user. */
  readonly userId?: string;
  /** Default: 1. */
  readonly deviceId?: number;
  /** Default: one that every test server takes; `null` for none. */
  readonly token?: string | null;
}

/** One connection of a device. */
export class Member implements AsyncDisposable {
  /** The numbers that came, in order. */
  readonly inbox: number[] = [];

  private constructor(readonly address: DeviceAddress, readonly connection: Connection) {}

  /** Connects, and does not register. */
  static async connect(url: string, options: MemberOptions = {}): Promise<Member> {
    const { userId = crypto.randomUUID(), deviceId = 1 } = options;
    const token = options.token === undefined ? await signTestToken(userId) : options.token;
    const early: number[] = [];
    let inbox = early;
    const connection = await Connection.connect({
      url,
      userId,
      deviceId,
      ...(token === null ? {} : { token }),
      onMessage: ({ ciphertext }) => void inbox.push(numberOf(ciphertext)),
    });
    const member = new Member({ userId, deviceId }, connection);
    member.inbox.push(...early);
    inbox = member.inbox;
    return member;
  }

  /** Connects and registers. */
  static async join(url: string, options: MemberOptions = {}): Promise<Member> {
    const member = await Member.connect(url, options);
    await member.connection.register(keysOf(1));
    return member;
  }

  /** Sends these numbers in this order, without waiting in between; resolves when all are stored. */
  async send(to: DeviceAddress, numbers: readonly number[]): Promise<void> {
    await Promise.all(numbers.map((n) => this.connection.send(to, numbered(n))));
  }

  /** Waits for the end of the connection, and gives its code. */
  async closeCode(): Promise<number> {
    let code = NaN;
    void this.connection.closed.then((end) => code = end.code);
    await eventually("the connection ends", () => !Number.isNaN(code));
    return code;
  }

  /** Waits for so many numbers, and gives those that came. */
  async received(count: number): Promise<readonly number[]> {
    await eventually(`${count} messages`, () => this.inbox.length >= count);
    return this.inbox;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
  }
}

/** Two new members write to each other: fails unless the server serves as it should. */
export async function converse(url: string): Promise<void> {
  await using alice = await Member.join(url);
  await using bob = await Member.join(url);
  const [bundle] = await alice.connection.requestPreKeys(bob.address.userId);
  if (bundle?.preKey?.length !== 4) throw new Error("no bundle with a prekey");
  await alice.send(bob.address, [1, 2, 3]);
  await bob.send(alice.address, [4]);
  const all = [...await bob.received(3), ...await alice.received(1)];
  if (all.join() !== "1,2,3,4") throw new Error(`expected 1,2,3,4, found ${all.join()}`);
}

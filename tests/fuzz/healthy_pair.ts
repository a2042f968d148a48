/** Two clients that write to each other all the time: whatever else the server is sent, every message arrives, in order. */
import { Connection, type DeviceAddress } from "../../lib/client/mod.ts";
import { keysOf, numbered, numberOf } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { signTestToken } from "../support/server.ts";

/** How long a message may take: long, since the machine may be busy. */
const ARRIVAL_MS = 30_000;

/** One end. */
class End {
  /** How many numbers came, which were all in order. */
  received = 0;
  fault: string | null = null;
  connection: Connection | null = null;

  constructor(readonly address: DeviceAddress, private readonly version: 1 | 2) {}

  async open(url: string): Promise<void> {
    this.connection = await Connection.connect({
      ...this.address,
      url,
      version: this.version,
      token: await signTestToken(this.address.userId),
      deadlineMs: ARRIVAL_MS,
      onMessage: ({ ciphertext }) => {
        const number = numberOf(ciphertext);
        if (number !== this.received) this.fault ??= `${number} came in place of ${this.received}`;
        this.received++;
      },
      onClose: (code) => this.fault ??= `closed with ${code}`,
    });
    await this.connection.register(keysOf(1));
  }
}

/** The pair; the first speaks version 1, the second version 2. */
export class HealthyPair {
  readonly #ends = [1, 2].map((version) =>
    new End({ userId: crypto.randomUUID(), deviceId: 1 }, version === 1 ? 1 : 2)
  );
  #isOver = false;
  #sent = 0;

  /** Connects both. */
  async open(url: string): Promise<void> {
    for (const end of this.#ends) await end.open(url);
  }

  /** How many messages each of them got. */
  get exchanged(): number {
    return Math.min(...this.#ends.map(({ received }) => received));
  }

  /** Converses until it is told to stop, and once at least. @throws if anything is missing, or out of order. */
  async converse(): Promise<void> {
    this.#isOver = false;
    do {
      const number = this.#sent++;
      const [a, b] = this.#ends;
      if (a === undefined || b === undefined) throw new Error("a pair has two ends");
      await Promise.all([
        a.connection?.send(b.address, numbered(number)),
        b.connection?.send(a.address, numbered(number)),
      ]);
      const hasArrived = () => this.#ends.every(({ received, fault }) => received > number || fault !== null);
      await eventually(`message ${number} of the healthy pair arrives`, hasArrived, ARRIVAL_MS);
      for (const { fault } of this.#ends) if (fault !== null) throw new Error(`the healthy pair: ${fault}`);
    } while (!this.#isOver);
  }

  /** Ends the conversation after the message that is under way. */
  stop(): void {
    this.#isOver = true;
  }

  /** Disconnects both. */
  async close(): Promise<void> {
    for (const { connection } of this.#ends) await connection?.close();
  }
}

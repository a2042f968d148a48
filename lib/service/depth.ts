/**
 * How full each mailbox is, so that a full one refuses (protocol §6).
 *
 * Counted in memory: measured once, then carried along with what this process stores and deletes. What the database
 * collected by itself is not seen, so a mailbox that looks full is measured again before anyone is refused.
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { RequestError } from "../errors.ts";
import { QUEUES } from "../limits.ts";
import type { Store } from "../store/mod.ts";

/** A full mailbox is measured again no more often than this. */
const MEASURE_AGAIN_MS = 5_000;

interface Depth {
  messages: number;
  bytes: number;
  readonly measuredAt: number;
}

/** The depth of the mailboxes that are in use. */
export class Depths {
  readonly #depths = new Map<string, Depth>();
  readonly #measuring = new Map<string, Promise<Depth>>();

  constructor(
    private readonly config: Pick<Config, "mailboxMessagesMax" | "mailboxBytesMax">,
    private readonly mailboxes: Store["mailboxes"],
    private readonly clock: Clock,
  ) {}

  /**
   * Makes sure that the mailbox takes a message of so many bytes, and counts it.
   *
   * @returns nothing, or a promise where the mailbox must be measured first.
   * @throws {RequestError} `mailbox_full`; also by rejection.
   */
  reserve(address: Address, epoch: string, bytes: number): void | Promise<void> {
    const key = `${addressKey(address)}/${epoch}`;
    const depth = this.#depths.get(key);
    if (depth === undefined || (!this.#fits(depth, bytes) && this.#isOld(depth))) {
      return this.#measure(key, address, epoch).then((measured) => this.#add(measured, bytes));
    }
    this.#add(depth, bytes);
  }

  /** A message left the mailbox, or was not stored after all. */
  release(address: Address, epoch: string, bytes: number): void {
    const depth = this.#depths.get(`${addressKey(address)}/${epoch}`);
    if (depth === undefined) return;
    depth.messages = Math.max(0, depth.messages - 1);
    depth.bytes = Math.max(0, depth.bytes - bytes);
  }

  #add(depth: Depth, bytes: number): void {
    if (!this.#fits(depth, bytes)) throw new RequestError("mailbox_full", "the recipient's mailbox is full");
    depth.messages++;
    depth.bytes += bytes;
  }

  #fits(depth: Depth, bytes: number): boolean {
    return depth.messages < this.config.mailboxMessagesMax &&
      depth.bytes + bytes <= this.config.mailboxBytesMax;
  }

  #isOld(depth: Depth): boolean {
    return this.clock.monotonic() - depth.measuredAt > MEASURE_AGAIN_MS;
  }

  #measure(key: string, address: Address, epoch: string): Promise<Depth> {
    let measuring = this.#measuring.get(key);
    if (measuring === undefined) {
      measuring = this.mailboxes.measure(address, epoch).then((measured) => {
        const depth = { ...measured, measuredAt: this.clock.monotonic() };
        if (this.#depths.size >= QUEUES.depthsMax) {
          for (const oldest of this.#depths.keys()) {
            this.#depths.delete(oldest);
            break;
          }
        }
        this.#depths.set(key, depth);
        return depth;
      }).finally(() => this.#measuring.delete(key));
      this.#measuring.set(key, measuring);
    }
    return measuring;
  }
}

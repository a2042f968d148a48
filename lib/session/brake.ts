/**
 * Holds a peer back that sends faster than its requests are answered, where the engine can stop reading.
 *
 * Nothing waits for the peer meanwhile: each request is answered within its deadline, and then reading goes on.
 * @module
 */
import { QUEUES } from "../limits.ts";
import type { UserShare } from "../service/mod.ts";
import type { Socket } from "./socket.ts";

/** The brake of one connection, which counts what is not answered. */
export class Brake {
  #requests = 0;
  #bytes = 0;
  #isOn = false;
  #isDone = false;

  /** @param share of the user, whose connections count together as well. */
  constructor(
    private readonly socket: Pick<Socket, "pause" | "resume">,
    private readonly share: Pick<UserShare, "add" | "remove">,
  ) {}

  /** Requests that are not answered yet. */
  get requests(): number {
    return this.#requests;
  }

  /** A request came, with so many bytes of payload. */
  add(bytes: number): void {
    this.#requests++;
    this.#bytes += bytes;
    this.share.add(bytes);
    const { unansweredBrake, unansweredBrakeBytes } = QUEUES;
    const isMuch = this.#requests >= unansweredBrake || this.#bytes >= unansweredBrakeBytes;
    if (!isMuch || this.#isOn || this.#isDone) return;
    this.#isOn = true;
    this.socket.pause();
  }

  /** One was answered, or will not be. */
  remove(bytes: number): void {
    this.#requests--;
    this.#bytes -= bytes;
    this.share.remove(bytes);
    const { unansweredBrake, unansweredBrakeBytes } = QUEUES;
    if (this.#requests <= unansweredBrake / 2 && this.#bytes <= unansweredBrakeBytes / 2) this.#letGo();
  }

  /** Lets the peer send for good: nothing more is taken from it but what it acknowledges. */
  end(): void {
    this.#isDone = true;
    this.#letGo();
  }

  #letGo(): void {
    if (!this.#isOn) return;
    this.#isOn = false;
    this.socket.resume();
  }
}

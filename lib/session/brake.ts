/**
 * Holds a peer back that sends faster than its requests are answered, where the engine can stop reading.
 *
 * Nothing waits for the peer meanwhile: each request is answered within its deadline, and then reading goes on.
 * @module
 */
import { QUEUES } from "../limits.ts";
import type { Socket } from "./socket.ts";

/** The brake of one connection. */
export class Brake {
  #isOn = false;
  #isDone = false;

  constructor(private readonly socket: Pick<Socket, "pause" | "resume">) {}

  /** To be told of every change in how many requests are not answered yet. */
  weigh(unanswered: number): void {
    if (this.#isOn) {
      if (unanswered <= QUEUES.unansweredBrake / 2) this.#letGo();
    } else if (unanswered >= QUEUES.unansweredBrake && !this.#isDone) {
      this.#isOn = true;
      this.socket.pause();
    }
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

/**
 * A connection that sends frames of any kind, and checks what comes back: every request is answered once, in a message
 * that is well-formed, and a frame that breaks the protocol ends the connection with the code that says so.
 * @module
 */
import assert from "node:assert/strict";
import { decode } from "@msgpack/msgpack";
import { eventually } from "../support/eventually.ts";
import { signTestToken } from "../support/server.ts";
import type { Fuzzer } from "./fuzz_frames.ts";
import { type Frame, judge } from "./fuzz_judge.ts";
import type { Random } from "./random.ts";

/** Requests that wait for their answer: well below the number at which a server refuses. */
const UNANSWERED_MAX = 200;

const ANSWER_MS = 15_000;

/** What is counted over all peers. */
export interface FuzzTally {
  frames: number;
  requests: number;
  readonly closes: Map<number, number>;
  /** Answers by what they are: Ack, PreKey, or the code of an Error. */
  readonly answers: Map<string, number>;
  delivered: number;
}

function count<K>(map: Map<K, number>, key: K): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}

/** One address that is connected over and over. */
export class FuzzPeer {
  #socket: WebSocket | null = null;
  #closeCode: number | null = null;
  #nextServerSequence = 0x8000_0001;
  /** How many answers each sequence still has to get. */
  readonly #unanswered = new Map<number, number>();
  #unansweredCount = 0;
  #isClosing = false;
  #fault: Error | null = null;
  #last: Frame | null = null;

  constructor(
    private readonly url: string,
    private readonly userId: string,
    private readonly deviceId: number,
    private readonly random: Random,
    private readonly tally: FuzzTally,
  ) {}

  /** Sends so many frames; `sent` is told each. */
  async run(fuzzer: Fuzzer, frames: number, sent: () => Promise<void>): Promise<void> {
    await this.#connect();
    for (let i = 0; i < frames; i++) {
      const frame = fuzzer.next();
      const { answers, closeCode } = judge(frame);
      if (closeCode !== null) await this.#sendLast(frame, closeCode);
      else {
        await this.#wait("there is room for more", () => this.#unansweredCount < UNANSWERED_MAX);
        for (const sequence of answers) this.#expect(sequence);
        this.#send(frame);
      }
      this.tally.frames++;
      this.tally.requests += answers.length;
      await sent();
    }
    await this.#wait("everything is answered", () => this.#unansweredCount === 0);
    this.#isClosing = true;
    this.#socket?.close(1000);
    await this.#wait("the connection is closed", () => this.#closeCode !== null);
  }

  /** The frame that was sent last, for whoever looks for a fault. */
  describe(): string {
    const { content, kind } = this.#last ?? { kind: "none", content: "" };
    const shown = typeof content === "string" ? content : content.subarray(0, 400).toHex();
    const waiting = [...this.#unanswered].slice(0, 10).map(([sequence]) => sequence).join(", ");
    return `last frame: ${kind} ${shown}; not answered: ${this.#unansweredCount} (${waiting})`;
  }

  async #connect(): Promise<void> {
    const token = await signTestToken(this.userId, this.deviceId);
    const protocols = ["messaging.v1", `bearer.${token}`];
    const socket = new WebSocket(`${this.url}/${this.userId}/${this.deviceId}`, protocols);
    this.#socket = socket;
    this.#closeCode = null;
    this.#isClosing = false;
    this.#nextServerSequence = 0x8000_0001;
    this.#unanswered.clear();
    this.#unansweredCount = 0;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      try {
        assert.ok(data instanceof ArrayBuffer, "a text message");
        this.#receive(new Uint8Array(data));
      } catch (error) {
        this.#fault ??= error instanceof Error ? error : new Error(String(error));
      }
    };
    socket.onerror = (event) => event.preventDefault();
    socket.onclose = ({ code }) => this.#closeCode = code;
    await this.#wait("connected", () => socket.readyState === WebSocket.OPEN);
  }

  #expect(sequence: number): void {
    this.#unanswered.set(sequence, (this.#unanswered.get(sequence) ?? 0) + 1);
    this.#unansweredCount++;
  }

  #send(frame: Frame): void {
    this.#last = frame;
    this.#socket?.send(frame.content);
  }

  /** Sends a frame that must end the connection, once everything before it is answered; then connects again. */
  async #sendLast(frame: Frame, closeCode: number): Promise<void> {
    await this.#wait("everything is answered", () => this.#unansweredCount === 0);
    this.#isClosing = true; // the server may carry out what comes before the fault
    this.#send(frame);
    await this.#wait(`closed with ${closeCode}`, () => this.#closeCode !== null);
    assert.equal(this.#closeCode, closeCode, `the close code after a frame of the kind ${frame.kind}`);
    count(this.tally.closes, closeCode);
    await this.#connect();
  }

  async #wait(what: string, condition: () => boolean): Promise<void> {
    if (!condition()) {
      await eventually(what, () => {
        return condition() || this.#fault !== null || (this.#closeCode !== null && !this.#isClosing);
      }, ANSWER_MS);
    }
    if (this.#fault !== null) throw this.#fault;
    if (this.#closeCode !== null && !this.#isClosing) throw new Error(`closed with ${this.#closeCode}`);
  }

  #receive(bytes: Uint8Array): void {
    assert.ok(bytes.length >= 10 && bytes[0] === 1, "no envelope of version 1");
    const view = new DataView(bytes.buffer);
    const sequence = view.getUint32(1);
    const payload = bytes.subarray(10);
    assert.equal(view.getUint32(6), payload.length, "the length of the payload");
    switch (bytes[5]) {
      case 1:
        assert.equal(payload.length, 0, "an Ack with a payload");
        return this.#answered(sequence, "Ack");
      case 2:
        assert.ok(payload.length > 0, "an Error without a code");
        new TextDecoder("utf-8", { fatal: true }).decode(payload.subarray(1));
        return this.#answered(sequence, `Error ${payload[0]}`);
      case 6: {
        const bundle = decode(payload);
        assert.ok(typeof bundle === "object" && bundle !== null && "More" in bundle, "a PreKey without More");
        if (bundle.More === 0) this.#answered(sequence, "PreKey");
        return;
      }
      case 7:
      case 8:
        assert.ok(payload.length >= (bytes[5] === 7 ? 2 : 20), "a message of the server that is cut short");
        return this.#delivered(sequence);
      default:
        assert.fail(`a message of type ${bytes[5]}`);
    }
  }

  #answered(sequence: number, what: string): void {
    count(this.tally.answers, what);
    if (this.#isClosing) return;
    const left = this.#unanswered.get(sequence) ?? 0;
    assert.ok(left > 0, `an answer that nobody waits for: ${what} with sequence ${sequence}`);
    if (left === 1) this.#unanswered.delete(sequence);
    else this.#unanswered.set(sequence, left - 1);
    this.#unansweredCount--;
  }

  /** Acknowledges most of what the server sends, so that windows neither stay empty nor full. */
  #delivered(sequence: number): void {
    assert.equal(sequence, this.#nextServerSequence++, "the server's sequence");
    this.tally.delivered++;
    // After the frame that ends the connection nothing is sent: the server may then close without a code.
    if (this.#isClosing || !this.random.chance(0.9) || this.#socket?.readyState !== WebSocket.OPEN) return;
    const ack = new Uint8Array(10);
    ack[0] = 1;
    new DataView(ack.buffer).setUint32(1, sequence);
    ack[5] = 1;
    this.#socket.send(ack);
  }
}

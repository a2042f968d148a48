/**
 * A connection over bare TCP that sends frames of any kind, and checks all that comes back: each request is answered as
 * one of its type may be, the server's own messages count up, and what breaks the protocol ends the connection with the
 * code that says so.
 */
import assert from "node:assert/strict";
import { decode } from "@msgpack/msgpack";
import { decodeEnvelope, type Envelope, HEADER_BYTES, type Version } from "../../lib/protocol/mod.ts";
import type { Random } from "../process/random.ts";
import { eventually } from "../support/eventually.ts";
import { handshake } from "../support/handshake.ts";
import { RawSocket } from "../support/raw_socket.ts";
import { signTestToken } from "../support/server.ts";
import { OPCODE } from "../support/websocket_frames.ts";
import type { FrameMaker } from "./session_frames.ts";
import { ackFits, type Frame, judge } from "./session_judge.ts";
import type { Counts } from "./target.ts";
import { Unanswered } from "./unanswered.ts";

/** Requests that wait for their answer, well below the number at which a server refuses; sequences to acknowledge. */
const UNANSWERED_MAX = 200;
const RECENT_MAX = 50;

/** How long anything may take: long, since the machine may be busy. */
const ANSWER_MS = 30_000;

/** Who the peer is. */
export interface PeerAddress {
  readonly userId: string;
  readonly deviceId: number;
  /** Whether the user has no other device, which could unregister this one. */
  readonly isAlone: boolean;
}

/** One address that is connected over and over. */
export class SessionPeer {
  /** The server's last sequences. */
  readonly recent: number[] = [];
  #socket: RawSocket | null = null;
  #nextServerSequence = 0x8000_0001;
  #queueEmpties = 0;
  #unanswered = new Unanswered();
  #isClosing = false;
  #fault: unknown = null;
  #last: Frame | null = null;

  constructor(
    private readonly url: string,
    private readonly version: Version,
    private readonly address: PeerAddress,
    private readonly random: Random,
    private readonly counts: Counts,
  ) {}

  /** Sends so many frames on as many connections as it takes. */
  async run(maker: FrameMaker, frames: number): Promise<void> {
    try {
      await this.#connect();
      for (let i = 0; i < frames; i++) await this.#step(maker.next());
      await this.#until("everything is answered", () => this.#unanswered.count === 0);
      this.#isClosing = true;
      this.#socket?.sendFrame(OPCODE.close, Uint8Array.of(3, 232));
      await this.#until("the connection is closed", () => this.#socket?.ending !== null);
    } catch (error) {
      throw new Error(
        `version ${this.version}, device ${this.address.deviceId}: ${error}\n${this.#describe()}`,
      );
    } finally {
      this.#socket?.cut();
    }
  }

  #describe(): string {
    const { content, kind } = this.#last ?? { kind: "none", content: "" };
    const shown = typeof content === "string" ? content : content.subarray(0, 400).toHex();
    return `last frame: ${kind} ${shown}; ${this.#unanswered}`;
  }

  async #step(frame: Frame): Promise<void> {
    const { answers, closeCode } = judge(frame, this.version);
    const takesOver = this.random.chance(0.003);
    this.counts.add("frames");
    if (closeCode === null && !takesOver) {
      await this.#until("there is room for more", () => this.#unanswered.count < UNANSWERED_MAX);
      for (const answer of answers) this.#unanswered.add(answer);
      return this.#send(frame);
    }
    await this.#until("everything is answered", () => this.#unanswered.count === 0);
    if (closeCode === null) return await this.#takeOver();
    const socket = this.#socket;
    this.#isClosing = true; // the server may carry out what comes before the fault
    this.#send(frame);
    await eventually(`closed with ${closeCode}`, () => socket?.ending !== null, ANSWER_MS);
    const code = socket?.ending?.code ?? 0;
    this.counts.add(`close ${code}`);
    if (code !== 4401) {
      assert.equal(code, closeCode, `the close code after a frame of the kind ${frame.kind}`);
    }
    await this.#connect();
  }

  /** A newer connection of the same address: the older one ends with 4409. */
  async #takeOver(): Promise<void> {
    const before = this.#socket;
    await this.#connect();
    await eventually("the older connection is closed", () => before?.ending !== null, ANSWER_MS);
    const code = before?.ending?.code ?? 0;
    this.counts.add(`close ${code}`);
    assert.ok(
      code === 4409 || this.#isUnregistered(code),
      `a connection that was replaced ended with ${code}`,
    );
  }

  async #connect(): Promise<void> {
    const { userId, deviceId } = this.address;
    const headers = {
      "authorization": `Bearer ${await signTestToken(userId, deviceId)}`,
      "sec-websocket-protocol": `messaging.v${this.version}`,
    };
    const { upgraded, status } = await handshake(this.url, `/${userId}/${deviceId}`, { headers });
    assert.ok(upgraded !== null, `refused with ${status}`);
    const options = { isSilent: false, isStalled: false };
    const socket: RawSocket = new RawSocket(upgraded.conn, (bytes) => this.#take(socket, bytes), options);
    this.#socket = socket;
    this.#isClosing = false;
    this.#nextServerSequence = 0x8000_0001;
    this.#queueEmpties = 0;
    this.#unanswered = new Unanswered();
    this.recent.length = 0;
    socket.start(upgraded.rest);
  }

  /** Sends a frame; now and then in pieces, with a ping in between. */
  #send(frame: Frame): void {
    this.#last = frame;
    const { content } = frame;
    const [opcode, bytes] = typeof content === "string"
      ? [OPCODE.text, new TextEncoder().encode(content)]
      : [OPCODE.binary, content];
    const cutAt = this.random.integer(bytes.length + 1);
    if (!this.random.chance(0.05)) return this.#socket?.sendFrame(opcode, bytes);
    this.#socket?.sendFrame(opcode, bytes.subarray(0, cutAt), false);
    this.#socket?.sendFrame(OPCODE.ping, new Uint8Array(3));
    this.#socket?.sendFrame(OPCODE.continuation, bytes.subarray(cutAt));
  }

  /** Waits. Another device of the user may unregister this one meanwhile: then it begins again. */
  async #until(what: string, condition: () => boolean): Promise<void> {
    const isLost = () => !this.#isClosing && this.#socket?.ending !== null;
    if (!condition() && this.#fault === null) {
      await eventually(what, () => condition() || this.#fault !== null || isLost(), ANSWER_MS);
    }
    if (this.#fault !== null) throw this.#fault;
    if (!isLost()) return;
    const code = this.#socket?.ending?.code;
    assert.ok(this.#isUnregistered(code ?? 0), `the connection ended with ${code} while waiting: ${what}`);
    this.counts.add(`close ${code}, unregistered`);
    await this.#connect();
  }

  /** Whether another device of the user may have ended this one. While frames come, its code can be lost (1006). */
  #isUnregistered(code: number): boolean {
    return !this.address.isAlone && (code === 4401 || code === 1006);
  }

  #take(socket: RawSocket, bytes: Uint8Array): void {
    if (socket !== this.#socket) return; // of a connection that was replaced
    try {
      let count = 0;
      for (let offset = 0; offset < bytes.length; count++) {
        const envelope = decodeEnvelope(bytes, offset, this.version);
        offset += HEADER_BYTES + envelope.payload.length;
        this.#receive(envelope);
      }
      assert.ok(count === 1 || (count > 1 && this.version === 2), `${count} envelopes in one message`);
    } catch (error) {
      this.#fault ??= error;
    }
  }

  #receive({ type, sequence, payload }: Envelope): void {
    switch (type) {
      case 1:
        return this.#answered(sequence, "Ack", (asked) => ackFits(this.version, asked, payload.length));
      case 2:
        return this.#answered(sequence, `Error ${this.#codeOf(payload)}`, () => true);
      case 6: {
        const { More } = this.#map(payload);
        if (More === 0) this.#answered(sequence, "PreKey", (asked) => asked === 5);
        return;
      }
      case 13:
        this.#map(payload);
        return this.#answered(sequence, "Devices", (asked) => asked === 12 && this.version === 2);
      case 7:
      case 8: {
        const least = type === 7 ? 2 : this.version === 1 ? 20 : 44;
        assert.ok(payload.length >= least, "a message of the server that is cut short");
        return this.#ofItsOwn(sequence, type);
      }
      case 9:
      case 11:
        assert.equal(this.version, 2);
        this.#map(payload);
        if (type === 11) assert.equal(++this.#queueEmpties, 1, "a second QueueEmpty");
        return this.#ofItsOwn(sequence, type);
      default:
        assert.fail(`a message of type ${type}`);
    }
  }

  #map(payload: Uint8Array): Record<string, unknown> {
    const value = decode(payload);
    assert.ok(typeof value === "object" && value !== null && !Array.isArray(value), "no map");
    return { ...value };
  }

  #codeOf(payload: Uint8Array): unknown {
    if (this.version === 2) return this.#map(payload)["Code"];
    new TextDecoder("utf-8", { fatal: true }).decode(payload.subarray(1));
    return payload[0];
  }

  #answered(sequence: number, what: string, fits: (type: number) => boolean): void {
    this.counts.add(what);
    assert.notEqual(what, "Error 1", "a fault of the server");
    if (this.#isClosing) return;
    const isOwed = this.#unanswered.answer(sequence, fits);
    assert.ok(isOwed, `an answer that nobody waits for: ${what} with sequence ${sequence}`);
  }

  /** Acknowledges most of what the server sends, so that windows neither stay empty nor full. */
  #ofItsOwn(sequence: number, type: number): void {
    assert.equal(
      type === 9,
      this.version === 2 && this.#nextServerSequence === 0x8000_0001,
      "Hello comes first",
    );
    assert.equal(sequence, this.#nextServerSequence++, "the server's sequence");
    this.counts.add("of the server's own");
    this.recent.push(sequence);
    if (this.recent.length > RECENT_MAX) this.recent.shift();
    if (this.#isClosing || !this.random.chance(0.7)) return;
    const ack = new Uint8Array(HEADER_BYTES);
    ack[0] = this.version;
    new DataView(ack.buffer).setUint32(1, sequence);
    ack[5] = 1;
    this.#socket?.sendFrame(OPCODE.binary, ack);
  }
}

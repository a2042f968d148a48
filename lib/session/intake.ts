/**
 * What comes in on one connection: requests in their order, counted until they are answered.
 *
 * Invariant: each request is answered once; no more of them are under way than the bound allows.
 * @module
 */
import { ProtocolViolation, rateLimited, RequestError } from "../errors.ts";
import { QUEUES } from "../limits.ts";
import {
  CLIENT_SEQUENCE_MAX,
  CLOSE,
  type Codec,
  type Envelope,
  type ServerMessage,
  TYPE,
} from "../protocol/mod.ts";
import type { UserShare } from "../service/mod.ts";
import { Brake } from "./brake.ts";
import { handle, type Reply, type Requester } from "./commands.ts";
import { incident } from "./incident.ts";
import type { Outbox } from "./outbox.ts";
import type { Patience } from "./patience.ts";
import type { Socket } from "./socket.ts";

/** When to try again a request that came while too many others were under way. */
const BUSY_RETRY_MS = 1_000;

/** Takes requests, and has them carried out. */
export class Intake {
  readonly #waiting: Envelope[] = [];
  readonly #brake: Brake;
  readonly #share: UserShare;
  /** Whether requests must wait: for the greeting, or for one whose place in the order is not known yet. */
  #isBusy = true;
  #hasStarted = false;
  #isStopped = false;
  /** Requests refused since fewer than the bound were under way: a client that goes on all the same is flooding. */
  #refusedInARow = 0;

  /**
   * @param refused told the sequence of a message of the server that the client refused.
   * @param socket from which the requests come.
   */
  constructor(
    private readonly requester: Requester,
    private readonly codec: Codec,
    private readonly outbox: Outbox,
    private readonly patience: Patience,
    private readonly refused: (sequence: number) => void,
    socket: Pick<Socket, "pause" | "resume">,
  ) {
    this.#share = requester.service.share(requester.address);
    this.#brake = new Brake(socket, this.#share);
  }

  /** Whether every request that was taken up has been answered. */
  get isAnswered(): boolean {
    return this.#brake.requests === 0;
  }

  /** Requests are taken up from here on; what came before waits until then. Once only. */
  start(): void {
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    this.#goOn();
  }

  /** Takes nothing more up. What is under way is still answered. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    for (const { payload } of this.#waiting) this.#brake.remove(payload.length);
    this.#waiting.length = 0;
    this.#brake.end();
    this.#share.leave();
  }

  /**
   * Takes one envelope that is not a good acknowledgement.
   *
   * @throws {ProtocolViolation} 4429 if far too many requests are under way.
   */
  take(envelope: Envelope): void {
    if (this.#isStopped) return;
    const bytes = envelope.payload.length;
    const { isUsedUp } = this.#share;
    this.#brake.add(bytes);
    const unanswered = this.#brake.requests;
    // An Ack or an Error of a client asks for nothing, and waits for nothing; only what is wrong with it is answered.
    const asksNothing = isNoRequest(envelope.type);
    if (this.outbox.isCongested || (!asksNothing && (isUsedUp || unanswered > QUEUES.unansweredMax))) {
      this.#refusedInARow++;
      if (unanswered - 1 + this.#refusedInARow > QUEUES.unansweredCloseMax) {
        this.#brake.remove(bytes);
        throw new ProtocolViolation(
          CLOSE.flooding,
          `more than ${QUEUES.unansweredCloseMax} unanswered requests`,
        );
      }
      const reply = this.#reply(envelope.sequence, bytes);
      return asksNothing ? reply.send() : reply.fail(rateLimited("requests under way", BUSY_RETRY_MS));
    }
    if (asksNothing) return this.#carryOut(envelope);
    this.#refusedInARow = 0;
    if (this.#isBusy) this.#waiting.push(envelope);
    else this.#carryOut(envelope);
  }

  #carryOut({ sequence, type, payload }: Envelope): void {
    const reply = this.#reply(sequence, payload.length);
    // What is no request carries the sequence of a message of the server.
    if (!isNoRequest(type) && (sequence === 0 || sequence > CLIENT_SEQUENCE_MAX)) {
      return reply.fail(new RequestError("unmarshal", `sequence must be from 1 to ${CLIENT_SEQUENCE_MAX}`));
    }
    try {
      const message = this.codec.decodeClientMessage(type, payload);
      if (message.type === "ack") return reply.send();
      if (message.type === "error") {
        this.refused(sequence);
        return reply.send();
      }
      const pending = handle(this.requester, message, reply);
      if (pending instanceof Promise) {
        this.#isBusy = true;
        void pending.finally(() => this.#goOn());
      }
    } catch (error) {
      reply.fail(error);
    }
  }

  /** Carries out what came while an earlier message had to be waited for. */
  #goOn(): void {
    this.#isBusy = false;
    while (!this.#isBusy) {
      const envelope = this.#waiting.shift();
      if (envelope === undefined) return;
      this.#carryOut(envelope);
    }
  }

  #reply(sequence: number, bytes: number): Reply {
    return new IntakeReply(this.outbox, this.patience, this.#brake, sequence, bytes);
  }
}

class IntakeReply implements Reply {
  constructor(
    private readonly outbox: Outbox,
    private readonly patience: Patience,
    private readonly brake: Brake,
    private readonly sequence: number,
    private readonly bytes: number,
  ) {}

  get isCongested(): boolean {
    return this.outbox.isCongested;
  }

  send(...messages: ServerMessage[]): void {
    this.brake.remove(this.bytes);
    for (const message of messages) this.outbox.answer(this.sequence, message);
  }

  fail(error: unknown): void {
    this.brake.remove(this.bytes);
    const refusal = error instanceof RequestError ? error : incident(error);
    this.outbox.refuse(this.sequence, refusal);
    this.patience.refused(refusal.error, this.bytes);
  }
}

function isNoRequest(type: number): boolean {
  return type === TYPE.ack || type === TYPE.error;
}

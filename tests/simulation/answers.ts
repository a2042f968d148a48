/** What senders are told of their sends, and whether it is true at that moment. */
import { ERRORS } from "../../lib/errors.ts";
import type { Connection } from "./connection.ts";
import type { Copies, Grounds } from "./copies.ts";
import type { Attempt, Send } from "./sends.ts";

/** Errors after which the outcome is not known. */
const UNKNOWN_OUTCOME: readonly number[] = [ERRORS.unknown.code, ERRORS.unavailable.code];

/** Watches over answers to sends. */
export class Answers {
  /** Messages that found a mailbox full, by device; told or not. */
  readonly refusedFull = new Map<string, number>();
  accepted = 0;
  refused = 0;

  constructor(private readonly grounds: Grounds, private readonly copies: Copies) {}

  /** A server answers a send with Ack: it is stored for every device that is not named as full. */
  acknowledged(connection: Connection, sequence: number, full: readonly number[]): void {
    const found = this.grounds.sends.find(connection.id, sequence);
    if (found === undefined) return;
    const { send, attempt } = found;
    this.accepted++;
    attempt.answers.push(0);
    send.isAccepted = true;
    send.full = full.map((deviceId) => `${send.toUserId}/${deviceId}`);
    for (const device of send.toDevices) {
      if (send.full.includes(device)) this.#countFull(device);
      else if (this.copies.of(send.token, device).length === 0) {
        this.grounds.verdict.broke(`message ${send.token} was acknowledged, and is not stored for ${device}`);
      }
    }
    if (send.isToAll && !send.listedOnly) this.#judgeMissed(send, attempt);
  }

  /** A server answers a send with Error. */
  refusedWith(connection: Connection, sequence: number, code: number): void {
    const found = this.grounds.sends.find(connection.id, sequence);
    if (found === undefined) return;
    const { send, attempt } = found;
    this.refused++;
    attempt.answers.push(code);
    if (code === ERRORS.mailbox_full.code) send.toDevices.forEach((device) => this.#countFull(device));
    const { verdict, installations } = this.grounds;
    const isUnknown = code === ERRORS.unknown_device.code || code === ERRORS.unknown_user.code;
    const isRegistered = (device: string) =>
      installations.wasRegisteredSince(device, attempt.taken[0]?.at ?? Infinity);
    if (isUnknown && send.toDevices.some(isRegistered)) {
      verdict.broke(`message ${send.token} was refused, and its recipient was registered all the time`);
    }
    if (code === ERRORS.unknown.code) {
      verdict.broke(`message ${send.token} was answered with a fault of the server`);
    }
  }

  /** What was refused for good, and by every answer, is nowhere. */
  judgeAtEnd(): void {
    for (const { token, attempts, toDevices } of this.grounds.sends.all) {
      const isRefused = attempts.length > 0 &&
        attempts.every(({ answers, taken }) =>
          answers.length === taken.length &&
          answers.every((code) => code !== 0 && !UNKNOWN_OUTCOME.includes(code))
        );
      if (!isRefused || toDevices.every((device) => this.copies.of(token, device).length === 0)) continue;
      this.grounds.verdict.broke(`message ${token} was refused, and is stored all the same`);
    }
  }

  /** An accepted UserMessages missed no device that was registered before a server took it. */
  #judgeMissed(send: Send, { taken: [first] }: Attempt): void {
    // A repeat is answered with what was true of the first attempt.
    if (send.attempts.length > 1 || first === undefined || send.attempts[0]?.taken.length !== 1) return;
    const expected = this.grounds.installations.devicesOf(send.toUserId, first.at);
    const missed = expected.filter((device) => device !== send.from && !send.toDevices.includes(device));
    // Left out by a list that named it is told as missing; it was accepted, so it was not in the list.
    if (missed.length > 0) {
      this.grounds.verdict.broke(`message ${send.token} was accepted, and missed ${missed}`);
    }
  }

  #countFull(device: string): void {
    this.refusedFull.set(device, (this.refusedFull.get(device) ?? 0) + 1);
  }
}

/** What a server says instead of an upgrade. */

/** The server answered the handshake with something else than an upgrade. */
export class UpgradeRefused extends Error {
  override readonly name = "UpgradeRefused";
  /** The HTTP status; 0 if that is not what it is. */
  readonly status: number;
  /** What Retry-After says, `null` if there is none. */
  readonly retryAfterSeconds: number | null;

  constructor(where: string, answer: string) {
    super(`${where} refused: ${answer.slice(0, 200)}`);
    this.status = Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(answer)?.[1] ?? 0);
    const seconds = /^retry-after: ([0-9]+)/im.exec(answer)?.[1];
    this.retryAfterSeconds = seconds === undefined ? null : Number(seconds);
  }
}

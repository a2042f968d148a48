/**
 * What a connection is told without having asked: the greeting, and that the queue is empty (protocol §4).
 *
 * Versions that have no such messages are told nothing, and nothing is counted as told.
 * @module
 */
import { sleep } from "../clock.ts";
import { RequestError } from "../errors.ts";
import { QUEUES } from "../limits.ts";
import type { Codec } from "../protocol/mod.ts";
import type { LostReport, OwnDevice, Receiver } from "../service/mod.ts";
import { VERSION } from "../version.ts";
import type { SessionContext } from "./context.ts";
import { incident } from "./incident.ts";
import type { Outbox } from "./outbox.ts";

/** The wait before the count of what was lost is read again, when storage refused. */
const READ_AGAIN_MS = 1_000;

/** Greets a connection, and tells it of what it missed. */
export class Announcements {
  #unconfirmed: { readonly epoch: string; readonly report: LostReport } | null = null;

  constructor(
    private readonly context: Pick<SessionContext, "config" | "clock">,
    private readonly codec: Codec,
    private readonly outbox: Outbox,
    private readonly receiver: Receiver,
  ) {}

  /** Sends Hello, with what is known of the device. */
  greet(device: OwnDevice | null): void {
    if (!this.codec.announces) return;
    const { config, clock } = this.context;
    this.outbox.greet({
      server: `messaging-server/${VERSION}`,
      time: clock.now(),
      messageBytesMax: config.messageBytesMax,
      envelopesBytesMax: config.frameBytesMax,
      window: QUEUES.windowMessagesMax,
      inFlightMax: QUEUES.unansweredMax,
      preKeysMax: config.preKeysMax,
      devicesMax: config.devicesMax,
      retentionSeconds: Math.floor(config.retentionMs / 1_000),
      registrationId: device?.registrationId ?? null,
      preKeysStored: device?.preKeys ?? 0,
    });
  }

  /** Sends QueueEmpty, with how many messages were lost. Tried again until storage answers or the place is given up. */
  async queueIsEmpty(epoch: string | null): Promise<void> {
    if (!this.codec.announces) return;
    if (epoch === null) return void this.outbox.push({ type: "queue_empty", lost: 0 });
    while (!this.receiver.hasLeft) {
      try {
        const { lost, report } = await this.receiver.readLost(epoch);
        if (this.receiver.hasLeft) return;
        this.outbox.push({ type: "queue_empty", lost });
        if (lost > 0) this.#unconfirmed = { epoch, report };
        return;
      } catch (error) {
        if (!(error instanceof RequestError)) incident(error); // else storage is not available: already in the log
        await sleep(this.context.clock, READ_AGAIN_MS);
      }
    }
  }

  /**
   * The peer is there: what it was told before, and has left this process, it need not be told again.
   *
   * @param epoch the installation that it has now: what was lost of another one went with that.
   */
  confirm(epoch: string | null): void {
    // One that lost its address leaves it to the next one, which is told the same.
    if (this.#unconfirmed === null || !this.outbox.isEmpty || this.receiver.hasLeft) return;
    if (this.#unconfirmed.epoch === epoch) this.receiver.clearLost(epoch, this.#unconfirmed.report);
    this.#unconfirmed = null;
  }
}

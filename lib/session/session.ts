/**
 * The server's side of one connection, from the upgrade to the end.
 *
 * Invariant: nothing a peer sends makes anything here throw to the outside. What is wrong with a request is answered;
 * what is wrong with the connection closes it, with a code that says why.
 * @module
 */
import type { Address } from "../address.ts";
import type { Timer } from "../clock.ts";
import { ProtocolViolation } from "../errors.ts";
import { TIMES } from "../limits.ts";
import { Metrics } from "../metrics.ts";
import { CLOSE, type Codec, decodeEnvelope, type Envelope, HEADER_BYTES, TYPE } from "../protocol/mod.ts";
import type { Listener, MailboxEntry, Receiver, Registered, Service } from "../service/mod.ts";
import { Announcements } from "./announcements.ts";
import type { Requester } from "./commands.ts";
import type { SessionContext } from "./context.ts";
import { Delivery } from "./delivery.ts";
import { bytesOf } from "./frame.ts";
import { incident } from "./incident.ts";
import { Intake } from "./intake.ts";
import { Outbox } from "./outbox.ts";
import { Patience } from "./patience.ts";
import { PreKeysNotice } from "./prekeys_notice.ts";
import { Registration } from "./registration.ts";
import type { Socket } from "./socket.ts";

/**
 * Where a session is in its life. `paused`: only acknowledgements are taken, since it was replaced or the server stops.
 * `closing`: the same, and it is closed as soon as what is queued has been sent. `closed`: the socket is gone.
 */
type State = "open" | "paused" | "closing" | "closed";

/** How long nothing must have come before a connection is closed. */
const QUIET_MS = 50;
const AWAITED_QUIET_MS = 250;

/** How often a connection that is about to be closed looks whether everything has been sent. */
const FLUSH_LOOK_MS = 10;

/** One connection. */
export class Session implements Listener, Requester {
  readonly service: Service;
  readonly #outbox: Outbox;
  readonly #intake: Intake;
  readonly #receiver: Receiver;
  readonly #delivery: Delivery;
  readonly #preKeysNotice: PreKeysNotice;
  readonly #announcements: Announcements;
  readonly #patience: Patience;
  readonly registration: Registration;
  #state: State = "open";
  #lookAt: number;
  #receivedAt = Number.NEGATIVE_INFINITY;
  #flush: Timer | null = null;

  /** @param expiresAt when the token ends, milliseconds since the epoch; `null` if never. It may be moved. */
  constructor(
    private readonly context: SessionContext,
    private readonly socket: Socket,
    readonly address: Address,
    private readonly codec: Codec,
    public expiresAt: number | null,
  ) {
    const { service, clock, config, metrics, metrics: { counts } } = context;
    this.service = service;
    this.#outbox = new Outbox(socket, codec, clock, metrics);
    const flooded = () => this.close(CLOSE.flooding, "too many refused requests");
    this.#patience = new Patience((units) => service.bear(address, units), flooded);
    const refused = (sequence: number) => this.#delivery.refuse(sequence);
    this.#intake = new Intake(this, codec, this.#outbox, this.#patience, refused, socket);
    this.#preKeysNotice = new PreKeysNotice(config, this.#outbox, clock);
    this.#receiver = service.receive(address, this);
    this.#announcements = new Announcements(context, codec, this.#outbox, this.#receiver);
    this.#delivery = new Delivery(this.#receiver, this.#outbox, clock, metrics, () => {
      void this.#announcements.queueIsEmpty(this.#delivery.epoch);
    });
    this.registration = new Registration(this.#receiver, (device) => {
      if (device !== null) this.#preKeysNotice.counted(device);
      this.#delivery.begin(device?.epoch ?? null);
    });
    this.#lookAt = this.#nextLook();
    counts.connectionsOpened++;
    void this.#open();
  }

  /** Whether every request that was taken up has been answered. */
  get isAnswered(): boolean {
    return this.#intake.isAnswered;
  }

  /** Takes one WebSocket message. */
  receive(data: Uint8Array | string): void {
    this.#receivedAt = this.context.clock.monotonic();
    if (this.#state === "closed") return;
    // Whoever goes on all the same is not waited for: to read it costs the others something.
    if (this.#patience.isOver) return this.socket.close(CLOSE.flooding, "");
    this.context.metrics.counts.framesReceived++;
    try {
      const bytes = bytesOf(data, this.context.config.frameBytesMax);
      this.#announcements.confirm(this.#delivery.epoch);
      for (let offset = 0; offset < bytes.length && !this.#patience.isOver;) {
        const envelope = decodeEnvelope(bytes, offset, this.codec.version);
        offset += HEADER_BYTES + envelope.payload.length;
        this.#take(envelope);
      }
    } catch (error) {
      if (this.#state !== "open") return; // only what it acknowledges still counts
      if (error instanceof ProtocolViolation) this.close(error.closeCode, error.reason);
      else this.close(CLOSE.internalError, incident(error).description);
    }
  }

  /** The connection is over, whoever ended it. */
  closed(code: number): void {
    if (this.#state === "closed") return;
    Metrics.count(this.context.metrics.closes, code);
    if (code === CLOSE.normal) this.#announcements.confirm(this.#delivery.epoch);
    this.#flush?.cancel();
    this.#leave("closed");
    const { notDealtWith } = this.#delivery;
    if (notDealtWith !== null) void this.#receiver.notDealtWith(notDealtWith);
  }

  /** Looks at what depends on time. Call it about once a second. */
  tick(now: number): void {
    if (this.#state !== "open") return;
    if (this.expiresAt !== null && this.context.clock.now() >= this.expiresAt) {
      return this.close(CLOSE.unauthorized, "token expired");
    }
    if (this.#outbox.isStuck(2 * this.context.config.idlePingMs) || this.#outbox.isGivenUp) {
      return this.close(CLOSE.tooSlow, "too slow: read what you are sent");
    }
    this.#delivery.pump(true);
    this.#receiver.renewIfDue(now);
    if (now < this.#lookAt) return;
    this.#lookAt = this.#nextLook();
    void this.registration.look();
    this.#delivery.lookIfIdle();
    if (this.#preKeysNotice.isDue) void this.#countPreKeys();
  }

  /** Takes nothing but acknowledgements from here on. */
  pause(): void {
    if (this.#state === "open") this.#leave("paused");
  }

  /** Ends the connection from this side: the code follows what is still queued. */
  close(code: number, reason: string): void {
    if (this.#state === "closing" || this.#state === "closed") return;
    this.#leave("closing");
    this.#closeWhenQuiet(code, reason, false);
  }

  /** See `Listener`. */
  handOver(entry: MailboxEntry): void {
    if (entry.epoch !== this.#delivery.epoch) this.registration.contradicted();
    this.#delivery.handOver(entry);
  }

  /** See `Listener`. */
  woken(): void {
    this.#delivery.look();
  }

  /** See `Listener`. */
  preKeysLow(): void {
    if (this.#state === "open") this.#preKeysNotice.low();
  }

  /** See `Listener`. From here on only acknowledgements are taken, so that keys can't be rolled back. */
  replaced(): void {
    if (this.#state !== "open") return;
    this.context.metrics.counts.connectionsReplaced++;
    this.pause();
    this.#closeWhenQuiet(CLOSE.replaced, "replaced by a newer connection of this device", true);
  }

  /** See `Listener`. */
  unregistered(): void {
    this.close(CLOSE.unauthorized, "the device was unregistered by another one of its user");
  }

  /** See `Requester`. */
  readonly registered = (outcome: Registered | null): void => {
    if (this.#state !== "open") return;
    this.registration.changed();
    this.#delivery.begin(outcome?.epoch ?? null);
    if (outcome !== null && this.#preKeysNotice.isOpen) void this.#countPreKeys();
  };

  /** Greets the peer, takes up its requests, finds out about the device, and begins to deliver. */
  async #open(): Promise<void> {
    if (!this.codec.announces) this.#intake.start();
    const device = await this.#receiver.readOwnDevice().catch(() => undefined);
    if (this.#state !== "open") return;
    // Without storage the peer is greeted all the same, and learns from the answers what is wrong.
    this.#announcements.greet(device ?? null);
    this.#intake.start();
    this.registration.wasRead(device === undefined ? await this.#receiver.awaitOwnDevice() : device);
  }

  async #countPreKeys(): Promise<void> {
    const device = await this.#receiver.awaitOwnDevice();
    if (device !== null && this.#state === "open") this.#preKeysNotice.counted(device);
  }

  #take(envelope: Envelope): void {
    // Acknowledgements depend on nothing that comes before them, and nothing waits for them.
    if (envelope.type === TYPE.ack && envelope.payload.length === 0) {
      if (!this.#delivery.acknowledge(envelope.sequence)) this.#patience.ignored();
    } else if (this.#state === "open") this.#intake.take(envelope);
    else this.#patience.dropped();
  }

  /** Gives the address up, and does nothing of its own any more. */
  #leave(state: State): void {
    this.#state = state;
    this.#intake.stop();
    this.#delivery.stop();
    this.#receiver.leave(this.#delivery.hasUnacknowledged);
  }

  /**
   * A socket that is closed while it is busy loses its code, in either direction: so it is closed once everything has
   * left, and nothing has come for a moment; or when that takes too long.
   */
  #closeWhenQuiet(code: number, reason: string, awaitsAnswers: boolean): void {
    const { clock } = this.context;
    const lateAt = clock.monotonic() + TIMES.replacedFlushMs;
    const look = () => {
      if (this.#state === "closed") return;
      // While acknowledgements are due, a silence says less.
      const quietMs = this.#delivery.hasUnacknowledged ? AWAITED_QUIET_MS : QUIET_MS;
      const isQuiet = this.#outbox.isEmpty && (this.isAnswered || !awaitsAnswers) &&
        clock.monotonic() - this.#receivedAt >= quietMs;
      if (!isQuiet && clock.monotonic() < lateAt) {
        this.#flush = clock.setTimer(FLUSH_LOOK_MS, look);
        return;
      }
      this.#state = "closing";
      this.socket.close(code, reason);
    };
    look();
  }

  #nextLook(): number {
    return this.context.clock.monotonic() + TIMES.mailboxLookMs * (0.75 + Math.random() / 2);
  }
}

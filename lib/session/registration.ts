/**
 * Which installation the device has, as far as the connection knows.
 *
 * A Register or Unregister that storage did not answer in time may be carried out later. Until it is known whether it
 * was, the mailbox that is delivered may be that of an installation that is gone, or of none. The same holds for one that
 * was asked for on an earlier connection, and carried out when this one had read its device.
 * @module
 */
import type { OwnDevice, Receiver } from "../service/mod.ts";

/** What is known of the registration, and whether it still holds. */
export class Registration {
  #isKnown = false;
  /** Made anew by each change whose outcome is not known; `null` if there is none. */
  #doubt: object | null = null;

  /** @param known told what storage has. */
  constructor(
    private readonly receiver: Receiver,
    private readonly known: (device: OwnDevice | null) => void,
  ) {}

  /** Storage was read as the connection opened. A Register on this connection may have been quicker than the read. */
  wasRead(device: OwnDevice | null): void {
    if (this.#isKnown || this.receiver.hasLeft) return;
    this.#isKnown = true;
    this.known(device);
  }

  /** A Register or Unregister was carried out: what was asked for before it is over. */
  changed(): void {
    this.#isKnown = true;
    this.#doubt = null;
  }

  /** A Register or Unregister failed, and may be carried out yet. */
  doubted(): void {
    this.#doubt = {};
  }

  /** A message came for another installation: a Register of an earlier connection may have been carried out since. */
  contradicted(): void {
    if (this.#isKnown) this.#doubt = {};
  }

  /** Looks what became of it, if there is a doubt. Call it now and then: where storage does not answer, it remains. */
  async look(): Promise<void> {
    const doubt = this.#doubt;
    if (doubt === null) return;
    const device = await this.receiver.readSettledDevice().catch(() => undefined);
    if (device === undefined || this.#doubt !== doubt || this.receiver.hasLeft) return;
    this.changed();
    this.known(device);
  }
}

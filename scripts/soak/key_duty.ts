/** What a device has to do with keys: it registers, uploads more when told to, and claims prekeys of others. */
import { type ServerMessage, type Version } from "../../lib/protocol/mod.ts";
import { codecOf } from "../bench/envelopes.ts";
import { type Claims, KeyRing } from "./key_ring.ts";
import type { Link } from "./link.ts";
import { AGAIN_MS, isTemporary, type Tally } from "./tally.ts";

/** The code of `unknown_user`: one that has not registered yet. */
const UNKNOWN_USER = 101;

interface Claim {
  readonly claim: number;
  readonly userId: string;
  readonly claimId: Uint8Array;
}

/** The keys of one device. */
export class KeyDuty {
  readonly #ring: KeyRing;
  readonly #underWay = new Map<number, Claim>();
  #isRegistered = false;
  #mustRegister = true;

  /** @param targets users whose prekeys are claimed. */
  constructor(
    owner: number,
    private readonly version: Version,
    private readonly targets: readonly string[],
    private readonly claims: Claims,
    private readonly tally: Tally,
  ) {
    this.#ring = new KeyRing(owner);
    this.#ring.makeMore();
  }

  /** Whether a Register was accepted once. */
  get isRegistered(): boolean {
    return this.#isRegistered;
  }

  /** Whether nothing waits for an answer. */
  get isAnswered(): boolean {
    return !this.#mustRegister && this.#underWay.size === 0;
  }

  /** A connection begins. What was not answered is repeated; version 1 can't repeat a claim. */
  begin(link: Link, registered: () => void): void {
    if (this.#mustRegister) this.register(link, registered);
    if (this.version === 1) this.#underWay.clear();
    for (const claim of this.#underWay.values()) this.#send(link, claim);
  }

  /** The server asks for more. */
  runLow(link: Link): void {
    if (!this.#mustRegister) this.#ring.makeMore();
    this.register(link, () => {});
  }

  /** Registers what the ring holds, which may be known to the server. */
  register(link: Link, registered: () => void): void {
    this.#mustRegister = true;
    this.tally.registers++;
    const { keys } = this.#ring;
    const encode = (sequence: number) =>
      codecOf(this.version).encodeClientMessage({ type: "register", keys }, sequence);
    link.ask(encode, (error) => {
      if (error !== null) {
        if (isTemporary(this.tally, "register", error.code)) {
          link.later(AGAIN_MS, () => this.register(link, registered));
        }
        return;
      }
      this.#mustRegister = false;
      this.#isRegistered = true;
      registered();
    });
  }

  /** Claims a prekey of somebody. */
  claim(link: Link): void {
    const userId = this.targets[Math.floor(Math.random() * this.targets.length)];
    if (userId === undefined) return;
    const claim = { claim: this.claims.next(), userId, claimId: crypto.getRandomValues(new Uint8Array(16)) };
    this.#underWay.set(claim.claim, claim);
    this.#send(link, claim);
  }

  #send(link: Link, claim: Claim): void {
    const request = { userId: claim.userId, knownDeviceIds: [], claimId: claim.claimId };
    const encode = (sequence: number) =>
      codecOf(this.version).encodeClientMessage({ type: "request_prekeys", request }, sequence);
    link.ask(encode, (error, answer) => this.#answered(link, claim, error, answer));
  }

  #answered(link: Link, claim: Claim, error: { readonly code: number } | null, answer?: ServerMessage): void {
    if (error !== null && error.code !== UNKNOWN_USER) {
      const isWorthIt = isTemporary(this.tally, "claim", error.code) && this.version === 2;
      if (isWorthIt) return link.later(AGAIN_MS, () => this.#send(link, claim));
    }
    this.#underWay.delete(claim.claim);
    if (answer?.type === "prekey") this.claims.given(claim.claim, answer.bundle.preKey);
  }
}

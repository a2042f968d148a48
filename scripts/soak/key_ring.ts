/**
 * The books on one-time prekeys: each is made once, and must be given out to one claim at most.
 * @module
 */
import type { DeviceKeys } from "../../lib/domain.ts";
import type { Tally } from "./tally.ts";

const KEY_BYTES = 33;
const BATCH = 20;

/** The prekeys of one device, as its owner makes them. */
export class KeyRing {
  readonly #identity = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  #made = 0;
  #batch: Uint8Array[] = [];
  #previous: Uint8Array[] = [];

  constructor(private readonly owner: number) {}

  /** Makes new ones. What Register carries is the same until the next call. */
  makeMore(): void {
    this.#previous = this.#batch;
    this.#batch = Array.from({ length: BATCH }, () => this.#make());
  }

  /** What to register. Those of the Register before are uploaded again: the server must know what it gave out. */
  get keys(): DeviceKeys {
    return {
      registrationId: 1,
      identityKey: this.#identity,
      signedPreKey: this.#identity,
      preKeys: [...this.#previous, ...this.#batch],
      replace: false,
    };
  }

  #make(): Uint8Array {
    const key = new Uint8Array(KEY_BYTES);
    const view = new DataView(key.buffer);
    view.setUint32(0, this.owner);
    view.setUint32(4, this.#made++);
    return key;
  }
}

/** Which claim got which prekey, over all devices. */
export class Claims {
  readonly #claimOf = new Map<number, number>();
  readonly #keyOf = new Map<number, number | null>();
  #count = 0;

  constructor(private readonly tally: Tally) {}

  /** Begins a claim. */
  next(): number {
    return this.#count++;
  }

  /** A claim was answered. */
  given(claim: number, preKey: Uint8Array | null): void {
    const key = preKey === null ? null : keyNumber(preKey);
    const before = this.#keyOf.get(claim);
    if (before !== undefined && before !== key) {
      this.tally.fault("claimsChanged", `claim ${claim}: ${before}, then ${key}`);
    }
    this.#keyOf.set(claim, key);
    if (key === null || before !== undefined) return;
    this.tally.keysGiven++;
    const other = this.#claimOf.get(key);
    if (other !== undefined) this.tally.fault("keysTwice", `${key} to claims ${other} and ${claim}`);
    this.#claimOf.set(key, claim);
  }
}

function keyNumber(key: Uint8Array): number {
  const view = new DataView(key.buffer, key.byteOffset);
  return view.getUint32(0) * 2 ** 32 + view.getUint32(4);
}

/** Random numbers that come again for the same seed, so that a failure can be repeated. */

/** A generator of 32 bits of state (mulberry32): no secrets, only variety. */
export class Random {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** The seed of the environment variable `SEED`, or another one every time. */
  static fromEnvironment(): Random {
    const given = Deno.env.get("SEED");
    return new Random(
      given === undefined ? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0 : Number(given),
    );
  }

  /** 0 up to, but not, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** 0 up to, but not, `below`. */
  integer(below: number): number {
    return Math.floor(this.next() * below);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.integer(choices.length)];
    if (choice === undefined) throw new Error("nothing to choose from");
    return choice;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.integer(256));
  }
}

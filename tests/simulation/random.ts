/** Random numbers that a seed decides: the only source of chance in a simulated run. */

/** A generator (sfc32) that gives the same numbers for the same seed. */
export class Random {
  #a = 0;
  #b = 0;
  #c = 0;
  #counter = 1;

  constructor(seed: number | string) {
    let hash = 0x811c9dc5;
    for (const character of String(seed)) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
    this.#a = hash >>> 0;
    this.#b = Math.imul(hash, 0x9e3779b1) >>> 0;
    this.#c = (hash ^ 0x5bd1e995) >>> 0;
    for (let i = 0; i < 16; i++) this.uint32();
  }

  /** An integer from 0 to 0xffffffff. */
  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter++) >>> 0;
    this.#a = (this.#b ^ (this.#b >>> 9)) >>> 0;
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** A fraction from 0 to less than 1. */
  fraction(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  /** An integer from 0 to less than `end`. */
  below(end: number): number {
    return Math.floor(this.fraction() * end);
  }

  /** A number from `low` to less than `high`. */
  between(low: number, high: number): number {
    return low + this.fraction() * (high - low);
  }

  /** A wait whose mean is `mean`: short ones are frequent, long ones happen. */
  wait(mean: number): number {
    return -Math.log(1 - this.fraction()) * mean;
  }

  /** Whether something happens that has the given probability. */
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** One of several, or `undefined` of none. */
  pick<T>(choices: readonly T[]): T | undefined {
    return choices[this.below(choices.length)];
  }

  /** One of several, by their weights. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let left = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) if ((left -= weight) < 0) return name;
    throw new Error("no choice has any weight");
  }

  /** Fills bytes. */
  fill<T extends ArrayBufferView>(view: T): T {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.uint32();
    return view;
  }

  /** So many bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    return this.fill(new Uint8Array(length));
  }

  /** A UUID of version 4. */
  uuid(): `${string}-${string}-${string}-${string}-${string}` {
    const bytes = this.bytes(16);
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    const hex = bytes.toHex();
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${
      hex.slice(20)
    }`;
  }
}

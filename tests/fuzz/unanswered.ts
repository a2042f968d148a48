/** Requests of one connection that wait for their answer. */
import type { OwedAnswer } from "./session_judge.ts";

/** Books what is owed. */
export class Unanswered {
  readonly #waiting = new Map<number, OwedAnswer[]>();
  /** Sequences that several requests had at once: which of them an answer is for can't be told. */
  readonly #shared = new Set<number>();
  /** How many must be answered. */
  count = 0;

  /** A request was sent. */
  add(answer: OwedAnswer): void {
    const others = this.#waiting.get(answer.sequence);
    if (others === undefined) this.#waiting.set(answer.sequence, [answer]);
    else {
      others.push(answer);
      this.#shared.add(answer.sequence);
    }
    if (!answer.isOptional) this.count++;
  }

  /**
   * An answer came.
   *
   * @param fits whether it may answer a request of this type.
   * @returns whether anything waited for it.
   */
  answer(sequence: number, fits: (type: number) => boolean): boolean {
    const waiting = this.#waiting.get(sequence) ?? [];
    const mayFit = (type: number) => this.#shared.has(sequence) || fits(type);
    // What may be left out counts last, so that no missing answer goes unseen.
    const found = waiting.find(({ type, isOptional }) => !isOptional && mayFit(type)) ??
      waiting.find(({ type }) => mayFit(type));
    if (found === undefined) return false;
    if (!found.isOptional) this.count--;
    if (waiting.length === 1) {
      this.#waiting.delete(sequence);
      this.#shared.delete(sequence);
    } else this.#waiting.set(sequence, waiting.filter((answer) => answer !== found));
    return true;
  }

  toString(): string {
    const some = [...this.#waiting.values()].flat().filter(({ isOptional }) => !isOptional).slice(0, 10);
    return `not answered: ${this.count} ${JSON.stringify(some)}`;
  }
}

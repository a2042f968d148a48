/**
 * What each user has under way here, over all its connections: so that what one user sends at once, on however many of
 * them, has no more than its share of what is stored next.
 * @module
 */
import { QUEUES } from "../limits.ts";

/** One user's requests that are not answered. */
export class UserShare {
  #connections = 0;
  #requests = 0;
  #bytes = 0;

  /** @param gone told when there is nothing left to count. */
  constructor(private readonly gone: () => void) {}

  /** Whether the user has as much under way as it may. */
  get isUsedUp(): boolean {
    return this.#requests >= QUEUES.userUnansweredMax || this.#bytes >= QUEUES.userUnansweredBytesMax;
  }

  /** One more connection counts here; `leave` must be called when it is over. */
  enter(): void {
    this.#connections++;
  }

  /** A connection is over. What it has under way still counts. */
  leave(): void {
    this.#connections--;
    this.#look();
  }

  /** A request came, with so many bytes of payload; `remove` must be called when it is over. */
  add(bytes: number): void {
    this.#requests++;
    this.#bytes += bytes;
  }

  /** A request is over. */
  remove(bytes: number): void {
    this.#requests--;
    this.#bytes -= bytes;
    if (this.#connections === 0) this.#look();
  }

  #look(): void {
    if (this.#connections === 0 && this.#requests === 0) this.gone();
  }
}

/** The shares of all users that are connected, or have something under way. */
export class UserShares {
  readonly #shares = new Map<string, UserShare>();

  /** How many there are. */
  get size(): number {
    return this.#shares.size;
  }

  /** The share of a user, with one more connection. */
  enter(userId: string): UserShare {
    let share = this.#shares.get(userId);
    if (share === undefined) {
      share = new UserShare(() => this.#shares.delete(userId));
      this.#shares.set(userId, share);
    }
    share.enter();
    return share;
  }
}

/**
 * Users by their open connections.
 * @module
 */
import type { Budget } from "../budget.ts";
import { PATIENCE } from "../limits.ts";
import { CLOSE } from "../protocol/mod.ts";
import type { Session } from "../session/mod.ts";
import type { Crowd } from "./unseen_work.ts";

/** Those who have a connection. */
export class PresentUsers implements Crowd {
  /** @param refusals what is borne with of each user: who owes of it is let in nowhere. */
  constructor(
    private readonly sessions: ReadonlySet<Pick<Session, "address" | "close">>,
    private readonly refusals: Pick<Budget, "indebt" | "forget">,
  ) {}

  /** See `Crowd`. */
  busiest(tried: ReadonlySet<string>): string | null {
    const counts = new Map<string, number>();
    let busiest: string | null = null;
    for (const { address: { userId } } of this.sessions) {
      if (tried.has(userId)) continue;
      const count = (counts.get(userId) ?? 0) + 1;
      counts.set(userId, count);
      if (busiest === null || count > (counts.get(busiest) ?? 0)) busiest = userId;
    }
    return busiest;
  }

  /** See `Crowd`. */
  sendAway(userId: string): () => void {
    const owesAnew = this.refusals.indebt(userId, PATIENCE.unseenDebt);
    for (const session of this.sessions) {
      if (session.address.userId === userId) {
        session.close(CLOSE.flooding, "the server is kept busy: try again");
      }
    }
    return () => {
      if (owesAnew) this.refusals.forget(userId);
    };
  }
}

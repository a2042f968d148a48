/**
 * Stopping: in this order, so that nothing that was accepted is lost and every client hears why its connection ends.
 *
 * 1. Sessions take nothing but acknowledgements. 2. What was accepted is committed and answered. 3. Sockets are closed
 * with 1001. 4. The listener goes. Each step has a deadline: one peer that stalls holds nobody up.
 * @module
 */
import { type Clock, sleep, withDeadline } from "../clock.ts";
import { CLOSE } from "../protocol/mod.ts";
import type { Session } from "../session/mod.ts";
import type { Store } from "../store/mod.ts";

/** The longest that each step may take; under 4 s in all. */
const STEP_MS = { commit: 1_500, close: 1_200, shutdown: 500, lastAcknowledgements: 300 } as const;

/** How often a step looks whether it is over. */
const LOOK_MS = 10;

/** Carries the steps out. Never rejects. */
export async function drain(options: {
  readonly sessions: ReadonlySet<Session>;
  readonly writer: Store["writer"];
  readonly clock: Clock;
  shutdown(): Promise<void>;
}): Promise<void> {
  const { sessions, writer, clock } = options;
  const until = async (isOver: () => boolean, deadlineMs: number) => {
    const endsAt = clock.monotonic() + deadlineMs;
    while (!isOver() && clock.monotonic() < endsAt) await sleep(clock, LOOK_MS);
  };
  for (const session of sessions) session.pause();
  await until(() => writer.isIdle && [...sessions].every((session) => session.isAnswered), STEP_MS.commit);
  for (const session of sessions) session.close(CLOSE.goingAway, "the server is stopping: reconnect");
  await until(() => sessions.size === 0, STEP_MS.close);
  await withDeadline(clock, options.shutdown().catch(() => {}), STEP_MS.shutdown, undefined);
  await until(() => writer.isIdle, STEP_MS.lastAcknowledgements);
}

/**
 * Sends that may have been accepted before: each is stored once (protocol §4).
 *
 * A repeat is judged when all that its sender had under way in this process has its place, and is durable. What was
 * under way in another process is found if it is durable; if it is not, a duplicate can remain, which the recipient
 * drops by sender and message ID.
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import type { Accepted } from "../domain.ts";
import type { SendIdentity } from "../store/mod.ts";
import { type Core, untilUndisturbed } from "./core.ts";

/** Rows that a look-up may read for the price of one send; more of them cost more. */
const ROWS_PER_SEND = 64;

const turnOf = (from: Address) => `send/${addressKey(from)}`;

/** Has the sender's repeats wait for a send that has no place in the order yet. */
export function beforeRepeats<T>({ serial }: Core, from: Address, send: Promise<T>): Promise<T> {
  return serial.include(turnOf(from), send);
}

/**
 * Finds out what a send was accepted as, or has it stored.
 *
 * @param store stores it; resolves to `null` if something changed under it.
 * @throws {RequestError} `unavailable`, or what `store` throws.
 */
export async function acceptOnce(
  { store: { accepted, database, writer }, clock, rates, serial }: Core,
  send: SendIdentity,
  store: () => Promise<Accepted | null>,
): Promise<Accepted> {
  return await serial.run(turnOf(send.from), async () => {
    // Repeats of one connection wait for each other: none of them may wait for storage that is away.
    database.requireUp();
    await writer.flushed(send.toUserId);
    return await untilUndisturbed(clock, async () => {
      const found = await accepted.find(send);
      rates.sends.charge(send.from.userId, Math.floor(found.rows / ROWS_PER_SEND));
      return found.accepted ?? await store();
    });
  });
}

/**
 * Servers with what a scenario needs already in their database.
 * @module
 */
import { makeFolder, startServer, type Target } from "./processes.ts";
import { fill, makeUsers, type Seed } from "./seed.ts";

/** Starts a server on a database that holds the seed. */
export async function startSeeded(seed: Seed, inspect = false): Promise<Target> {
  const folder = makeFolder();
  await fill(folder, seed);
  return await startServer(folder, inspect);
}

/** Registered users, as a seed has them. */
export function makeRecipients(
  count: number,
): { readonly recipients: readonly string[]; readonly seed: Seed } {
  const recipients = makeUsers(count);
  return { recipients, seed: { devices: recipients.map((userId) => ({ userId })) } };
}

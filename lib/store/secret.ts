/**
 * The secret that signs tokens where the operator sets none: made once, and the same for all servers on a database.
 * @module
 */
import type { Database } from "./database.ts";
import { secretKey } from "./keys.ts";

const SECRET_BYTES = 32;

/** Reads the secret; makes it first if there is none. */
export async function loadSecret(database: Database): Promise<Uint8Array> {
  const made = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  // Set if absent: of two that start at once, one wins and both read the same.
  if (await database.get(secretKey) === null) {
    await database.writer.atomic().check({ key: secretKey, versionstamp: null }).set(secretKey, made)
      .commit();
  }
  const entry = await database.get(secretKey);
  if (!(entry?.value instanceof Uint8Array)) throw new Error("the secret in the database can't be read");
  return entry.value;
}

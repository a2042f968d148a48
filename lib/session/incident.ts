/**
 * Faults of the server: the log gets all of it, the client a number by which the log can be searched.
 * @module
 */
import { RequestError } from "../errors.ts";
import { logger } from "../log.ts";

const log = logger("session");

/** Logs what was not foreseen, and makes the error that the client is told. */
export function incident(error: unknown): RequestError {
  const id = crypto.randomUUID();
  const stack = error instanceof Error ? error.stack ?? error.message : String(error);
  log.error("incident {id}: {stack}", { id, stack });
  return new RequestError("unknown", `incident ${id}`);
}

/** How peers connect, what they hear, and what they expect of a request that must fail. */
import assert from "node:assert/strict";
import { ServerError } from "../../lib/client/mod.ts";
import type { ServerMessage } from "../../lib/protocol/mod.ts";

/** Who connects, and how. */
export interface PeerOptions {
  /** Default: a new user. */
  readonly userId?: string;
  /** Default: 1. */
  readonly deviceId?: number;
  /** Default: 2. */
  readonly version?: 1 | 2;
  /** Whether messages are acknowledged as they come. Default: they are. */
  readonly acknowledges?: boolean;
  /** The clock of the server, if it is not the machine's. */
  readonly now?: number;
}

/** Something that the server sent. */
export type Heard = ServerMessage & { readonly sequence: number };

/** A message that came. */
export type HeardMessage = Extract<ServerMessage, { type: "user_message" }>["message"] & {
  readonly sequence: number;
};

/** Expects a request to be answered with an Error of this code, and gives it. */
export async function refused(code: number, request: Promise<unknown>): Promise<ServerError> {
  const error: unknown = await request.then((answer) => answer, (reason) => reason);
  assert.ok(error instanceof ServerError, `expected Error ${code}, found ${Deno.inspect(error)}`);
  assert.equal(error.code, code, error.description);
  return error;
}

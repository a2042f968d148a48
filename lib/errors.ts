/**
 * The errors that a client can be told, and the two ways in which a request can fail.
 *
 * `RequestError` is answered, and the connection goes on. `ProtocolViolation` closes the connection.
 * @module
 */
import type { UserDevice } from "./domain.ts";

/** Every error of protocol §3: its code on the wire, and whether the same request may succeed later. */
export const ERRORS = {
  unknown: { code: 1, temporary: true },
  marshal: { code: 2, temporary: false },
  unmarshal: { code: 3, temporary: false },
  invalid_user_id: { code: 100, temporary: false },
  unknown_user: { code: 101, temporary: false },
  unknown_device: { code: 102, temporary: false },
  unknown_type: { code: 103, temporary: false },
  too_large: { code: 104, temporary: false },
  rate_limited: { code: 105, temporary: true },
  mailbox_full: { code: 106, temporary: true },
  device_mismatch: { code: 107, temporary: false },
  too_many: { code: 108, temporary: false },
  unavailable: { code: 109, temporary: true },
} as const;

/** The name of an error of protocol §3. */
export type ErrorName = keyof typeof ERRORS;

/** The name of an error code, or `null` if the protocol has no such code. */
export function errorNameOf(code: number): ErrorName | null {
  return NAMES.get(code) ?? null;
}

const NAMES = new Map(Object.entries(ERRORS).map(([name, { code }]) => [code as number, name as ErrorName]));

/** Exact descriptions that old clients compare (protocol §3). */
const FIXED_DESCRIPTIONS: Partial<Record<ErrorName, string>> = {
  invalid_user_id: "invalid userID",
  unknown_user: "unknown user",
  unknown_device: "unknown device",
};

/** How a send's device list differs from the recipient's current one (protocol §4). */
export interface DeviceMismatch {
  /** Devices of the recipient that the send does not name. */
  readonly missing: readonly UserDevice[];
  /** Devices that were re-installed since: the send names an older registration ID. */
  readonly stale: readonly UserDevice[];
  /** Devices that the send names and the recipient does not have. */
  readonly extra: readonly number[];
}

/** A request that is refused or failed: the client gets an Error, and the connection goes on. */
export class RequestError extends Error {
  override readonly name = "RequestError";

  /**
   * @param error which error of protocol §3.
   * @param description a sentence for the author of the client; the fixed text where protocol §3 has one.
   * @param retryAfterMs when to try again, for temporary errors that know it.
   * @param mismatch what differs, for `device_mismatch`.
   */
  constructor(
    readonly error: ErrorName,
    readonly description: string = FIXED_DESCRIPTIONS[error] ?? error,
    readonly retryAfterMs?: number,
    readonly mismatch?: DeviceMismatch,
  ) {
    // Nobody reads the stack of a refusal, and to gather it costs more than all the rest of one: a flood is made of them.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(`${error}: ${description}`);
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** What the peer sent breaks the protocol so that the connection can't go on: it is closed with `closeCode`. */
export class ProtocolViolation extends Error {
  override readonly name = "ProtocolViolation";

  /**
   * @param closeCode a close code of protocol §7.
   * @param reason at most 123 bytes, sent in the close frame.
   */
  constructor(readonly closeCode: number, readonly reason: string) {
    super(`${closeCode}: ${reason}`);
  }
}

/** The error that tells when to try again, for every limit on a rate. */
export function rateLimited(what: string, retryAfterMs: number): RequestError {
  const wait = Math.max(1, Math.ceil(retryAfterMs));
  return new RequestError("rate_limited", `too many ${what}: try again in ${wait} ms`, wait);
}

/**
 * What lies between the server and the network: an engine reads HTTP and WebSocket frames; who is let in, and what is
 * answered, is decided behind this interface, once for all engines.
 * @module
 */
import type { Config } from "../config.ts";
import { CLOSE } from "../protocol/mod.ts";
import type { Session, Socket } from "../session/mod.ts";

/** A request, as far as anybody looks at it. The URL is put together from the Host header and the target as sent. */
export type Asked = Pick<Request, "method" | "url" | "headers">;

/** What a connection tells its owner. */
export interface Connected {
  /** The handshake is over: make the session. */
  opened(socket: Socket): Session;
  /** The connection is over, or was given up, whether or not it was ever open. Called once. */
  ended(session: Session | null): void;
}

/**
 * Makes a WebSocket of the request that is being served; `subprotocol` is echoed unless it is `null`.
 *
 * What is returned is handed back to the engine in place of an answer.
 */
export type Upgrade<T> = (subprotocol: string | null, connected: Connected) => T;

/** Answers a request, or has it upgraded. Never rejects. */
export type Serve = <T>(
  asked: Asked,
  remoteHost: string | null,
  upgrade: Upgrade<T>,
) => Promise<Response | T>;

/** Something that listens. */
export interface Engine {
  /** Where it does. */
  readonly address: { readonly hostname: string; readonly port: number };
  /** Resolves when it has stopped listening; rejects if it lost its listener. */
  readonly finished: Promise<void>;
  /** Stops listening, and waits for the connections that there are: the caller sets a deadline. */
  shutdown(): Promise<void>;
}

/** What an engine needs beside the settings. */
export interface EngineOptions {
  /** Aborted when the server has stopped: then nobody is waited for. */
  readonly stopped: AbortSignal;
  /** Told each time that the listener was lost. */
  readonly lost: () => void;
}

/**
 * Begins to listen, as the settings say.
 *
 * @throws {ListenError} if it can't.
 */
export type Listen = (config: Config, serve: Serve, options: EngineOptions) => Promise<Engine>;

/** How long a peer may take to answer a close: then its place is given up, in milliseconds. */
export const CLOSE_MS = 5_000;

/** What a TCP connection that was cut reports, in the words of RFC 6455. */
export const ABNORMAL = 1006;

/** What a close frame without a code reports. */
const NO_CODE = 1005;

/** A peer's own close codes may be anything; these are told apart in the metrics. */
const KNOWN_CODES: ReadonlySet<number> = new Set([NO_CODE, ABNORMAL, ...Object.values(CLOSE)]);

/** The close code as it is counted. */
export function countedCode(code: number): number {
  return KNOWN_CODES.has(code) ? code : NO_CODE;
}

/** The longest reason that fits a close frame. */
const REASON_BYTES_MAX = 123;

/** The reason, cut to what a close frame takes. */
export function cutReason(reason: string): string {
  return new TextDecoder().decode(new TextEncoder().encode(reason).slice(0, REASON_BYTES_MAX));
}

/**
 * Staying connected: a new connection whenever one ends, after a wait that grows and is never the same for two clients.
 * @module
 */
import { CLOSE } from "../protocol/mod.ts";
import { Connection } from "./connection.ts";
import type { ConnectionOptions } from "./types.ts";

/** The wait before the first new attempt, and the longest one, milliseconds. */
const WAIT_MS = { first: 500, most: 60_000 } as const;

/** A connection that lasted so long was a good one: the waits begin anew. */
const STEADY_MS = 60_000;

/** After these a new connection would fail the same way, or start a fight with the one that took over. */
const FINAL_CODES: ReadonlySet<number> = new Set([CLOSE.normal, CLOSE.unauthorized, CLOSE.replaced]);

/** The wait before the n-th attempt in a row, from 1 on: doubles, and lies anywhere in its upper half. */
export function reconnectDelayMs(attempt: number): number {
  const most = Math.min(WAIT_MS.most, WAIT_MS.first * 2 ** (attempt - 1));
  return most / 2 + Math.random() * (most / 2);
}

/**
 * Connects, and connects again whenever the connection ends, until `signal` is aborted or the end is final: closed
 * normally, the token expired (4401), or a newer connection of the device took over (4409).
 *
 * @param connected told each new connection.
 * @returns the code and reason of the final end.
 */
export async function stayConnected(
  options: ConnectionOptions,
  connected: (connection: Connection) => void,
  signal: AbortSignal,
): Promise<{ code: number; reason: string }> {
  let end = { code: 1006, reason: "not connected" };
  let failures = 0;
  while (!signal.aborted) {
    const openedAt = performance.now();
    let wasToldToMove = false;
    try {
      end = await keep(await Connection.connect(options), connected, signal);
      if (FINAL_CODES.has(end.code)) return end;
      // A server that stops in order says so: another one is there, or soon will be.
      wasToldToMove = end.code === CLOSE.goingAway;
    } catch {
      // The wait below is the answer to every failure to connect.
    }
    const wasGood = wasToldToMove || performance.now() - openedAt >= STEADY_MS;
    failures = wasGood ? 1 : failures + 1;
    if (!signal.aborted) await wait(reconnectDelayMs(failures), signal);
  }
  return end;
}

/** Keeps a connection until it ends. */
async function keep(
  connection: Connection,
  connected: (connection: Connection) => void,
  signal: AbortSignal,
): Promise<{ code: number; reason: string }> {
  const stop = () => void connection.close();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  else connected(connection);
  const end = await connection.closed;
  signal.removeEventListener("abort", stop);
  return end;
}

function wait(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, delayMs);
    signal.addEventListener("abort", over, { once: true });
  });
}

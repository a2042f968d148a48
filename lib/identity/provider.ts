/**
 * Questions to an identity provider over HTTP, and what can go wrong with them.
 *
 * The provider is not trusted to be quick, to be short, or to be there. A redirect is not followed: it would carry the
 * question, and our secret with it, to wherever it points.
 * @module
 */
import type { Clock } from "../clock.ts";

/** The provider gave no answer that can be used. The message says why, and contains nothing of the answer. */
export class ProviderError extends Error {
  override readonly name = "ProviderError";
}

/** A question. */
export interface Question {
  readonly url: string;
  /** What `fetch` takes beside it; redirects and the signal are settled here. */
  readonly init: { readonly method: "GET" | "POST"; readonly headers: HeadersInit; readonly body?: string };
  /** The most bytes that the answer may have. */
  readonly bytesMax: number;
  /** How long all of it may take. */
  readonly deadlineMs: number;
}

/**
 * Asks, and reads the answer as JSON.
 *
 * @throws {ProviderError} if it is not there, too slow, too long, not JSON, or has another status than 200.
 */
export async function askProvider(question: Question, clock: Clock): Promise<unknown> {
  const { url, init, bytesMax, deadlineMs } = question;
  const stop = new AbortController();
  const late = new ProviderError(`no answer within ${Math.round(deadlineMs)} ms`);
  const timer = clock.setTimer(deadlineMs, () => stop.abort(late));
  try {
    const response = await fetch(url, { ...init, redirect: "manual", signal: stop.signal });
    if (response.status !== 200) {
      response.body?.cancel().catch(() => {});
      throw new ProviderError(`it answered ${response.status}`);
    }
    return parse(await read(response, bytesMax));
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    // The words of `fetch` contain the whole URL.
    throw new ProviderError(stop.signal.aborted ? late.message : "it can't be reached, or hung up");
  } finally {
    timer.cancel();
  }
}

/** Reads a body to its end, unless it is too long: then it is left. */
async function read(response: Response, bytesMax: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(bytesMax);
  let length = 0;
  for await (const piece of response.body ?? []) {
    if (length + piece.length > bytesMax) {
      throw new ProviderError(`it answered with more than ${bytesMax} bytes`);
    }
    bytes.set(piece, length);
    length += piece.length;
  }
  return bytes.subarray(0, length);
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new ProviderError("its answer is not JSON");
  }
}

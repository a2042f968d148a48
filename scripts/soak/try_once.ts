/** One request to a server that may be in trouble. */

/**
 * Asks whether the server answers, on a connection of its own.
 *
 * @returns the milliseconds until the answer, or `null` if there was none in time.
 */
export async function tryOnce(url: URL, deadlineMs: number): Promise<number | null> {
  const startedAt = performance.now();
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  try {
    const signal = AbortSignal.timeout(deadlineMs);
    const answer = await fetch(new URL("/healthz", url), { client, signal });
    await answer.body?.cancel();
    return answer.ok ? performance.now() - startedAt : null;
  } catch {
    return null;
  } finally {
    client.close();
  }
}

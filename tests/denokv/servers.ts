/** Server processes on one denokv. */
import { Denokv } from "../support/denokv.ts";
import { ProcessServer, type Settings } from "../support/process_server.ts";
import { DENOKV, testWith } from "../support/tools.ts";

/** A denokv, and the servers on it. */
export interface Shared {
  readonly denokv: Denokv;
  readonly servers: readonly ProcessServer[];
}

/** Runs a test with so many servers on one denokv; ignored where there is none. */
export function denokvTest(
  name: string,
  options: { readonly servers: number; readonly settings?: Settings },
  test: (shared: Shared) => Promise<void>,
): void {
  testWith(DENOKV, "denokv", name, async (program) => {
    await using denokv = await Denokv.start(program);
    await using stack = new AsyncDisposableStack();
    const starting = Array.from(
      { length: options.servers },
      async () => stack.use(await ProcessServer.start({ ...denokv.settings, ...options.settings })),
    );
    // All are waited for, so that none is left behind if one fails.
    const outcomes = await Promise.allSettled(starting);
    const servers = outcomes.map((outcome) => {
      if (outcome.status === "rejected") throw outcome.reason;
      return outcome.value;
    });
    await test({ denokv, servers });
  });
}

/** The n-th server. */
export function serverAt({ servers }: Shared, n: number): ProcessServer {
  const server = servers[n];
  if (server === undefined) throw new Error(`there is no server ${n}`);
  return server;
}

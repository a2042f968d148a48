/**
 * The server as a library: read the settings, then start it.
 *
 * ```ts no-eval
 * import { createServer, loadConfig } from "./lib/mod.ts";
 *
 * const server = await createServer(loadConfig({ KV_PATH: ":memory:", PORT: "0" }));
 * console.log(server.url);
 * await server.drain();
 * ```
 * @module
 */
import type { Config } from "./config.ts";
import { MessagingServer, type ServerOptions } from "./server/server.ts";

export { type Config, ConfigError, loadConfig } from "./config.ts";
export type { MessagingServer, ServerOptions } from "./server/server.ts";

/**
 * Opens the database, listens, and serves until `drain` is called.
 *
 * @throws {DatabaseError} if the database can't be opened, with its path and what to do.
 */
export function createServer(config: Config, options: ServerOptions = {}): Promise<MessagingServer> {
  return MessagingServer.start(config, options);
}

/**
 * The server as a library: read the settings with `loadConfig`, then start it with `createServer`.
 * `README.md` has an example, which is run with the tests.
 * @module
 */
import type { Config } from "./config.ts";
import { MessagingServer, type ServerOptions } from "./server/server.ts";

export type { Clock, Timer } from "./clock.ts";
export { type Config, ConfigError, loadConfig } from "./config.ts";
export type { MessagingServer, ServerOptions } from "./server/server.ts";
export { type Setting, type SettingName, SETTINGS } from "./settings.ts";
export type { Kind, Rate } from "./setting_kinds.ts";

/**
 * Opens the database, listens, and serves until `drain` is called.
 *
 * @throws {DatabaseError} if the database can't be opened, with its path and what to do.
 */
export function createServer(config: Config, options: ServerOptions = {}): Promise<MessagingServer> {
  return MessagingServer.start(config, options);
}

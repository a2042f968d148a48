/**
 * Listening, with the engine that is chosen.
 * @module
 */
import type { Listen } from "./engine.ts";
import { listenDeno } from "./engines/deno.ts";

/** Begins to listen with the engine that the settings name. See `Listen`. */
export const listen: Listen = async (config, serve, options) => {
  if (config.wsEngine === "deno") return await listenDeno(config, serve, options);
  // Only who chooses it pays for loading it.
  const { listenWs } = await import("./engines/ws.ts");
  return await listenWs(config, serve, options);
};

/**
 * Deno's own HTTP server and WebSockets: the default engine, and the only one on Deno Deploy.
 * @module
 */
import type { Config } from "../../config.ts";
import type { Engine, Serve } from "../engine.ts";
import { listenError, readCertificate } from "../listen_error.ts";
import { upgrade } from "./deno_socket.ts";

/** See `Listen`. */
export function listenDeno(config: Config, serve: Serve, stopped: AbortSignal): Promise<Engine> {
  const idleTimeoutSeconds = Math.ceil(config.idlePingMs / 1_000);
  const handler = (request: Request, { remoteAddr }: Deno.ServeHandlerInfo): Promise<Response> => {
    const remoteHost = "hostname" in remoteAddr ? remoteAddr.hostname : null;
    return serve(request, remoteHost, (subprotocol, connected) => {
      return upgrade(request, { subprotocol, idleTimeoutSeconds, stopped }, connected);
    });
  };
  return Promise.resolve().then(() => {
    const http = listen(config, handler);
    return { address: http.addr, finished: http.finished, shutdown: () => http.shutdown() };
  });
}

function listen(config: Config, handler: Deno.ServeHandler<Deno.NetAddr>): Deno.HttpServer<Deno.NetAddr> {
  const { host, port, onDeploy } = config;
  const options = { onListen: () => {} };
  if (onDeploy) return Deno.serve(options, handler);
  const tls = readCertificate(config);
  try {
    return Deno.serve({ ...options, hostname: host, port, ...tls }, handler);
  } catch (error) {
    throw listenError(config, error);
  }
}

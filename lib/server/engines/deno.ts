/**
 * Deno's own HTTP server and WebSockets: the default engine, and the only one on Deno Deploy.
 * @module
 */
import { systemClock } from "../../clock.ts";
import type { Config } from "../../config.ts";
import type { Engine, EngineOptions, Serve } from "../engine.ts";
import { listenError, readCertificate } from "../listen_error.ts";
import { Listener } from "../listener.ts";
import { Refusal } from "../refusal.ts";
import { type DenoSocket, upgrade } from "./deno_socket.ts";

/** See `Listen`. */
export function listenDeno(config: Config, serve: Serve, { stopped, lost }: EngineOptions): Promise<Engine> {
  const idleTimeoutSeconds = Math.ceil(config.idlePingMs / 1_000);
  const sockets = new Set<DenoSocket>();
  const giveAllUp = () => sockets.forEach((socket) => socket.giveUp());
  stopped.addEventListener("abort", giveAllUp, { once: true });
  const handler = (request: Request, { remoteAddr }: Deno.ServeHandlerInfo): Promise<Response> => {
    const { signal } = request; // asked for at once: it tells of nothing that happened before
    const remoteHost = "hostname" in remoteAddr ? remoteAddr.hostname : null;
    return serve(request, remoteHost, (subprotocol, connected) => {
      // An upgrade for a client that has gone never ends, and keeps its file descriptor.
      if (signal.aborted) throw new Refusal("disconnected", "the client has gone");
      return upgrade(request, { subprotocol, idleTimeoutSeconds }, connected, sockets);
    });
  };
  return Promise.resolve().then(() => {
    const listener = new Listener((port) => listen(config, handler, port), systemClock, lost);
    return {
      address: listener.addr,
      finished: listener.finished,
      shutdown: () => listener.shutdown(),
    };
  });
}

function listen(
  config: Config,
  handler: Deno.ServeHandler<Deno.NetAddr>,
  portAgain?: number,
): Deno.HttpServer<Deno.NetAddr> {
  const { host, port, onDeploy } = config;
  const options = { onListen: () => {} };
  if (onDeploy) return Deno.serve(options, handler);
  const tls = readCertificate(config);
  try {
    return Deno.serve({ ...options, hostname: host, port: portAgain ?? port, ...tls }, handler);
  } catch (error) {
    throw listenError(config, error);
  }
}

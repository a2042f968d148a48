/**
 * The `ws` package on `node:http`: it bounds messages while they come, stops reading from a peer that sends too fast, and
 * cuts off whoever takes too long over a request or a close.
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket as TcpSocket } from "node:net";
import type { Config } from "../../config.ts";
import { logger } from "../../log.ts";
import type { Connected, Engine, EngineOptions, Serve, Upgrade } from "../engine.ts";
import { listenError } from "../listen_error.ts";
import { Refusal } from "../refusal.ts";
import { answerRequest, answerUpgrade, askedOf, createHttpServer, hostOf } from "./node_http.ts";
import { ListenerWatch } from "./listener_watch.ts";
import { WsConnections } from "./ws_connections.ts";

const log = logger("server");

/** For requests that `node:http` takes for none. */
const refuseUpgrade: Upgrade<never> = () => {
  throw new Refusal("upgrade_required", "this address takes WebSocket connections only");
};

/** See `Listen`. */
export async function listenWs(config: Config, serve: Serve, { stopped }: EngineOptions): Promise<Engine> {
  const http = createHttpServer(config);
  const connections = new WsConnections(config);
  const failed = (tcp: TcpSocket, error: unknown) => {
    log.error("incident: a request could not be answered: {reason}", { reason: String(error) });
    tcp.destroy();
  };
  http.on("request", (request: IncomingMessage, response: ServerResponse) => {
    serve(askedOf(request), hostOf(request.socket), refuseUpgrade)
      .then((answer) => answerRequest(request, response, answer))
      .catch((error) => failed(request.socket, error));
  });
  http.on("upgrade", (request: IncomingMessage, tcp: TcpSocket, head: Uint8Array) => {
    const fault = () => tcp.destroy();
    tcp.on("error", fault);
    const upgrade = (subprotocol: string | null, connected: Connected): null => {
      tcp.off("error", fault);
      connections.upgrade({ request, tcp, head, subprotocol }, connected);
      return null;
    };
    serve(askedOf(request), hostOf(tcp), upgrade)
      .then((answer) => answer === null ? undefined : answerUpgrade(tcp, answer))
      .catch((error) => failed(tcp, error));
  });
  await new Promise<void>((listening, refused) => {
    http.once("error", (error) => refused(listenError(config, error)));
    http.listen(config.port, config.host, listening);
  });
  const at = http.address();
  if (at === null || typeof at === "string") throw listenError(config, `${at} is no TCP address`);
  const { promise: finished, resolve: over, reject: lost } = Promise.withResolvers<void>();
  http.on("error", lost).once("close", over);
  const watch = new ListenerWatch(http, at, lost);
  const stop = () => {
    connections.stop();
    http.closeAllConnections();
  };
  stopped.addEventListener("abort", stop, { once: true });
  return {
    address: { hostname: at.address, port: at.port },
    finished,
    shutdown: async () => {
      watch.stop();
      http.close();
      http.closeIdleConnections();
      await finished;
    },
  };
}

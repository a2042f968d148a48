/**
 * Listening: on the address and with the certificate that the settings name, or on the platform's own.
 * @module
 */
import type { Config } from "../config.ts";

/** The server can't listen. The message names the setting, and says what to do. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

function readPem(setting: string, path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new ListenError(
      `${setting} ${path} can't be read: ${error instanceof Error ? error.message : error}`,
    );
  }
}

/**
 * Begins to listen.
 *
 * @param portAgain instead of the setting's, when a listener on it was lost.
 * @throws {ListenError} if it can't.
 */
export function listen(
  config: Config,
  onError: (error: unknown) => Response,
  handler: Deno.ServeHandler<Deno.NetAddr>,
  portAgain?: number,
): Deno.HttpServer<Deno.NetAddr> {
  const { host, tlsCertFile, tlsKeyFile, onDeploy } = config;
  const port = portAgain ?? config.port;
  const options = { onListen: () => {}, onError };
  if (onDeploy) return Deno.serve(options, handler);
  const tls = tlsCertFile !== undefined && tlsKeyFile !== undefined
    ? { cert: readPem("TLS_CERT_FILE", tlsCertFile), key: readPem("TLS_KEY_FILE", tlsKeyFile) }
    : {};
  try {
    return Deno.serve({ ...options, hostname: host, port, ...tls }, handler);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof Deno.errors.AddrInUse) {
      throw new ListenError(
        `PORT ${port} on HOST ${host} is in use: stop what listens there, or set another PORT`,
      );
    }
    // What the system refuses has its number; what has none is about the certificate.
    if ("cert" in tls && !/os error|lookup/.test(reason)) {
      throw new ListenError(
        `TLS_CERT_FILE ${tlsCertFile} and TLS_KEY_FILE ${tlsKeyFile} can't be used: ${reason}. The first must hold a ` +
          "certificate chain in PEM format, the second the private key that belongs to it",
      );
    }
    throw new ListenError(
      `HOST ${host}, PORT ${port} can't be had: ${reason}. HOST must be an address of this machine (0.0.0.0 is all ` +
        "of them), and a PORT below 1024 needs the right to use it",
    );
  }
}

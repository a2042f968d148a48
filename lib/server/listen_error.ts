/**
 * What is said when the server can't listen, whichever engine it is.
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
 * Reads the certificate and its key, if there are any.
 *
 * @throws {ListenError} if they can't be read.
 */
export function readCertificate(
  { tlsCertFile, tlsKeyFile }: Config,
): { readonly cert: string; readonly key: string } | null {
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return null;
  return { cert: readPem("TLS_CERT_FILE", tlsCertFile), key: readPem("TLS_KEY_FILE", tlsKeyFile) };
}

/** Explains why an address can't be had, or a certificate not be used. */
export function listenError({ host, port, tlsCertFile, tlsKeyFile }: Config, error: unknown): ListenError {
  const reason = error instanceof Error ? error.message : String(error);
  const isInUse = error instanceof Deno.errors.AddrInUse || /EADDRINUSE/.test(reason);
  if (isInUse) {
    return new ListenError(
      `PORT ${port} on HOST ${host} is in use: stop what listens there, or set another PORT`,
    );
  }
  // What the system refuses has its number or name; what has none is about the certificate.
  if (tlsCertFile !== undefined && !/os error|lookup|\bE[A-Z]{4,}\b/.test(reason)) {
    return new ListenError(
      `TLS_CERT_FILE ${tlsCertFile} and TLS_KEY_FILE ${tlsKeyFile} can't be used: ${reason}. The first must hold a ` +
        "certificate chain in PEM format, the second the private key that belongs to it",
    );
  }
  return new ListenError(
    `HOST ${host}, PORT ${port} can't be had: ${reason}. HOST must be an address of this machine (0.0.0.0 is all ` +
      "of them), and a PORT below 1024 needs the right to use it",
  );
}

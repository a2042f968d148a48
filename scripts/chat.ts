/**
 * A first conversation: two people type to each other through a server, from two terminals.
 *
 * It shows what a client does: register keys, fetch the other's, encrypt, send, decrypt, acknowledge. Its encryption is
 * a plain ECDH with AES-GCM, to stay readable: no forward secrecy, no authentication. A messenger uses libsignal;
 * `tests/signal/` shows that.
 *
 *     deno task chat --token "$ALICE" --to <Bob's user ID>
 * @module
 */
import { Command } from "commander";
import {
  Connection,
  type DeviceAddress,
  type PreKeyBundle,
  type ReceivedMessage,
  ServerError,
  stayConnected,
} from "../lib/client/mod.ts";

const CURVE = { name: "ECDH", namedCurve: "P-256" } as const;

/** Bytes before the ciphertext: the sender's public key, then the nonce. */
const PUBLIC_KEY_BYTES = 65;
const NONCE_BYTES = 12;

/** This device's keys. They are kept in a file, so that messages sent meanwhile can still be read. */
interface Keys {
  readonly registrationId: number;
  readonly privateKey: CryptoKey;
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

/** Reads the keys, or makes them. */
async function loadKeys(path: string): Promise<Keys> {
  const importPrivate = (jwk: JsonWebKey) => crypto.subtle.importKey("jwk", jwk, CURVE, true, ["deriveKey"]);
  try {
    const { registrationId, jwk } = JSON.parse(await Deno.readTextFile(path));
    const { d: _secret, ...publicJwk } = jwk;
    const publicKey = await crypto.subtle.importKey("jwk", { ...publicJwk, key_ops: [] }, CURVE, true, []);
    const raw = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey));
    return { registrationId, privateKey: await importPrivate(jwk), publicKey: raw };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const pair = await crypto.subtle.generateKey(CURVE, true, ["deriveKey"]);
  const registrationId = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const jwk = await crypto.subtle.exportKey("jwk", pair.privateKey);
  await Deno.writeTextFile(path, JSON.stringify({ registrationId, jwk }), { mode: 0o600 });
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return { registrationId, privateKey: pair.privateKey, publicKey };
}

/** The key that two devices share. */
async function sharedKey(keys: Keys, other: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  const publicKey = await crypto.subtle.importKey("raw", other, CURVE, false, []);
  const algorithm = { name: "AES-GCM", length: 256 };
  return await crypto.subtle.deriveKey({ ...CURVE, public: publicKey }, keys.privateKey, algorithm, false, [
    "encrypt",
    "decrypt",
  ]);
}

async function encrypt(keys: Keys, other: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array> {
  const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const plaintext = new TextEncoder().encode(text);
  const sealed = await crypto.subtle.encrypt(
    { name: "AES-GCM", iv },
    await sharedKey(keys, other),
    plaintext,
  );
  return new Uint8Array([...keys.publicKey, ...iv, ...new Uint8Array(sealed)]);
}

async function decrypt(keys: Keys, message: Uint8Array): Promise<string> {
  const bytes = new Uint8Array(message);
  const key = await sharedKey(keys, bytes.slice(0, PUBLIC_KEY_BYTES));
  const iv = bytes.slice(PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES + NONCE_BYTES);
  const sealed = bytes.slice(PUBLIC_KEY_BYTES + NONCE_BYTES);
  return new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, sealed));
}

/** Whom a token is for: its middle part says so. */
function readToken(token: string): DeviceAddress {
  const { sub, device } = JSON.parse(
    atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")),
  );
  return { userId: String(sub), deviceId: typeof device === "number" ? device : 1 };
}

/** Encrypts a line for each device of the other, and sends it. `devices` are those that are known already. */
async function sendLine(
  connection: Connection,
  keys: Keys,
  to: string,
  devices: Map<number, PreKeyBundle>,
  text: string,
): Promise<void> {
  try {
    for (const bundle of await connection.requestPreKeys(to, [...devices.keys()])) {
      devices.set(bundle.deviceId, bundle);
    }
    for (const { deviceId, identityKey } of devices.values()) {
      await connection.send({ userId: to, deviceId }, await encrypt(keys, new Uint8Array(identityKey), text));
    }
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    const hint = error.code === 101 ? " (the other has not connected yet: start the second terminal)" : "";
    console.error(`not sent: ${error.description}${hint}`);
  }
}

async function chat(options: { url: string; token: string; to: string; keys?: string }): Promise<void> {
  const me = readToken(options.token);
  const keys = await loadKeys(options.keys ?? `./chat-${me.userId}-${me.deviceId}.json`);
  const onMessage = async ({ from, ciphertext }: ReceivedMessage) => {
    console.log(`${from.userId.slice(0, 8)}: ${await decrypt(keys, ciphertext)}`);
  };
  let connection: Connection | null = null;
  const firstConnection = Promise.withResolvers<void>();
  const stopped = new AbortController();
  const connected = async (opened: Connection) => {
    const { registrationId, publicKey } = keys;
    await opened.register({ registrationId, identityKey: publicKey, signedPreKey: publicKey, preKeys: [] });
    console.error(
      `connected as ${me.userId}, device ${me.deviceId}. Type a line and press Enter; Ctrl-D ends.`,
    );
    connection = opened;
    firstConnection.resolve();
  };
  const ended = stayConnected(
    { ...options, ...me, onMessage },
    (opened) => void connected(opened),
    stopped.signal,
  );
  void ended.then(({ code, reason }) => {
    if (!stopped.signal.aborted) {
      console.error(`the server closed the connection for good: ${code} ${reason}`);
      Deno.exit(1);
    }
  });
  await firstConnection.promise;
  const devices = new Map<number, PreKeyBundle>();
  for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    for (const line of chunk.split("\n").filter((line) => line !== "")) {
      if (connection !== null) await sendLine(connection, keys, options.to, devices, line);
    }
  }
  stopped.abort();
  await ended;
}

if (import.meta.main) {
  await new Command("chat")
    .description("Type to somebody through a messaging-server.")
    .requiredOption("--token <token>", "yours: deno task token new")
    .requiredOption("--to <userID>", "the other's user ID")
    .option("--url <url>", "the server", "ws://127.0.0.1:8080")
    .option("--keys <file>", "where your keys are kept; default: a file in this folder")
    .action(chat)
    .parseAsync(Deno.args, { from: "user" });
}

/**
 * A program: a client that registers, stays connected, and prints the number of each message before it is acknowledged.
 * Its arguments are the server's address, its user ID, and its token.
 * @module
 */
import { stayConnected } from "../../lib/client/mod.ts";

const [url = "", userId = "", token = ""] = Deno.args;
const key = new Uint8Array(32);
let isRegistered = false;

await stayConnected(
  {
    url,
    userId,
    deviceId: 1,
    token,
    onMessage: ({ ciphertext }) => {
      const number = new DataView(ciphertext.buffer, ciphertext.byteOffset).getUint32(0);
      Deno.stdout.writeSync(new TextEncoder().encode(`${number}\n`));
    },
  },
  (connection) => {
    if (isRegistered) return;
    void connection.register({ registrationId: 1, identityKey: key, signedPreKey: key, preKeys: [] }).then(
      () => {
        isRegistered = true;
        Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
      },
    );
  },
  new AbortController().signal,
);

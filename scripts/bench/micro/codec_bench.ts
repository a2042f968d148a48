/**
 * `deno bench scripts/bench/micro`: what a codec takes for the messages that are sent most.
 * @module
 */
import { decodeEnvelope, type ServerMessage, v1, v2 } from "../../../lib/protocol/mod.ts";

const CIPHERTEXT_BYTES = 300;

const randomBytes = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes));
const address = { userId: crypto.randomUUID(), deviceId: 1 };
const messageId = randomBytes(16);
const ciphertext = randomBytes(CIPHERTEXT_BYTES);
const keys = Array.from({ length: 100 }, () => randomBytes(33));
const outgoing = { to: address, ciphertext, messageId, retry: false, transient: false, ttlSeconds: 0 };
const delivered: ServerMessage = {
  type: "user_message",
  message: { from: address, messageId, timestamp: Date.now(), ciphertext },
};
const accepted: ServerMessage = { type: "ack", accepted: { at: Date.now(), fullDeviceIds: [] } };

for (const codec of [v1, v2]) {
  const name = `v${codec.version}`;
  const sent = codec.encodeClientMessage({ type: "user_message", message: outgoing }, 1);
  const register = codec.encodeClientMessage({
    type: "register",
    keys: {
      registrationId: 1,
      identityKey: randomBytes(33),
      signedPreKey: randomBytes(100),
      preKeys: keys,
      replace: false,
    },
  }, 1);
  const request = codec.encodeClientMessage({
    type: "request_prekeys",
    request: { userId: address.userId, knownDeviceIds: [] },
  }, 1);
  const decode = (bytes: Uint8Array) => {
    const { type, payload } = decodeEnvelope(bytes, 0, codec.version);
    codec.decodeClientMessage(type, payload);
  };

  Deno.bench(`${name}: decode a UserMessage of ${CIPHERTEXT_BYTES} bytes`, { group: "decode send" }, () => {
    decode(sent);
  });
  Deno.bench(
    `${name}: encode a UserMessage of ${CIPHERTEXT_BYTES} bytes`,
    { group: "encode delivery" },
    () => {
      codec.encodeServerMessage(delivered, 0x8000_0001);
    },
  );
  Deno.bench(`${name}: encode the Ack of a send`, { group: "encode Ack" }, () => {
    codec.encodeServerMessage(accepted, 1);
  });
  Deno.bench(`${name}: decode a RequestPreKeys`, { group: "decode RequestPreKeys" }, () => {
    decode(request);
  });
  Deno.bench(`${name}: decode a Register with 100 prekeys`, { group: "decode Register" }, () => {
    decode(register);
  });
}

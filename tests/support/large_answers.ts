/** Answers that are large: how a test fills the way to a client that does not read. */
import { Device, keysOf } from "./device.ts";
import type { RawClient } from "./raw_client.ts";
import { requestPreKeys } from "./raw_messages.ts";
import type { TestServer } from "./server.ts";

const DEVICES = 10;
const KEY_BYTES = 16 * 1_024;

/** What a server must allow. */
export const LARGE_KEYS = { KEY_BYTES_MAX: `${KEY_BYTES}` };

/** A little less than what one answer about a user of `registerLargeUser` has. */
const LARGE_ANSWER_BYTES = DEVICES * KEY_BYTES;

/** More than the system takes for a connection that nobody reads: some 4 MiB on Linux. */
export const SYSTEM_BYTES = 5 * 1_024 * 1_024;

/** Registers a user whose bundles make one large answer. */
export async function registerLargeUser(server: TestServer): Promise<string> {
  const userId = crypto.randomUUID();
  const keys = keysOf(1, { signedPreKey: new Uint8Array(KEY_BYTES), preKeys: [] });
  for (let deviceId = 0; deviceId < DEVICES; deviceId++) {
    await using device = await Device.connect(server, { userId, deviceId });
    await device.connection.register(keys);
  }
  return userId;
}

/** Asks for so many bytes of answers. */
export function askForBytes(client: RawClient, largeUserId: string, bytes: number): number[] {
  const times = Math.ceil(bytes / LARGE_ANSWER_BYTES);
  return client.sendTogether(Array.from({ length: times }, () => requestPreKeys(largeUserId)));
}

/**
 * RequestDevices: which devices a user has, without taking a key (protocol §4).
 * @module
 */
import type { Address } from "../address.ts";
import type { UserDevice } from "../domain.ts";
import { RequestError } from "../errors.ts";
import type { Core } from "./core.ts";

/**
 * Reads a user's devices, as they are now.
 *
 * @throws {RequestError} `unknown_user` if there are none; `rate_limited`; `unavailable`.
 */
export async function requestDevices(core: Core, requester: Address, userId: string): Promise<UserDevice[]> {
  core.rates.requests.take(requester.userId);
  const { devices } = await core.lists.read(userId);
  if (devices.size === 0) throw new RequestError("unknown_user");
  return [...devices.values()];
}

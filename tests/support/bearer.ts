/** Connecting with a token, whatever it is, in either of the two places that a token can be in. */
import { Connection, type DeviceAddress, type ReceivedMessage } from "../../lib/client/mod.ts";
import { keysOf } from "./device.ts";
import { type Answer, handshake } from "./handshake.ts";

/** Where a token is put. */
export type Place = "header" | "subprotocol";

/** Both places. */
export const PLACES: readonly Place[] = ["header", "subprotocol"];

/** Asks for a connection. One that opens is closed at once. */
export async function present(
  server: { readonly url: string },
  { userId, deviceId }: DeviceAddress,
  token: string,
  place: Place = "header",
): Promise<Answer> {
  const headers: Record<string, string> = place === "header"
    ? { authorization: `Bearer ${token}` }
    : { "sec-websocket-protocol": `messaging.v2, bearer.${token}` };
  const answer = await handshake(server.url, `/${userId}/${deviceId}`, { headers });
  answer.upgraded?.conn.close();
  return answer;
}

/** A connection that keeps what it receives. */
export class Bearer implements AsyncDisposable {
  readonly inbox: ReceivedMessage[] = [];
  closeCode: number | null = null;

  private constructor(readonly address: DeviceAddress, readonly connection: Connection) {}

  /** Connects with a token, and registers. */
  static async join(
    server: { readonly url: string },
    address: DeviceAddress,
    token: string,
  ): Promise<Bearer> {
    let bearer: Bearer | null = null;
    const connection = await Connection.connect({
      ...address,
      url: server.url,
      token,
      onMessage: (message) => void bearer?.inbox.push(message),
      onPreKeysLow: () => {},
      onClose: (code) => {
        if (bearer !== null) bearer.closeCode = code;
      },
    });
    bearer = new Bearer(address, connection);
    await connection.register(keysOf(1));
    return bearer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
  }
}

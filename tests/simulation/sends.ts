/** What was sent, how often, and what the senders were told. */

/** One try to send: on one connection, in one place of its order. */
export interface Attempt {
  readonly connectionId: number;
  /** Its place among the sends of its connection. */
  readonly position: number;
  /** Whether it asks to be stored once. */
  readonly retry: boolean;
  readonly sequence: number;
  /** The frames of it that servers took, the first one first: which process, and when. */
  readonly taken: { readonly processId: number; readonly at: number }[];
  /** What it was answered with: 0 for an Ack, else the code of the Error. */
  readonly answers: number[];
}

/** A message of a client, however often it was sent. */
export interface Send {
  readonly token: number;
  readonly from: string;
  readonly toUserId: string;
  /** The devices that it names. */
  readonly toDevices: readonly string[];
  /** Whether it went to all devices of the user. */
  readonly isToAll: boolean;
  readonly listedOnly: boolean;
  readonly transient: boolean;
  readonly attempts: Attempt[];
  /** Devices that the sender was told were full. */
  full: readonly string[];
  isAccepted: boolean;
}

/** The bytes at the beginning of a ciphertext that say which send it is of. */
export const TOKEN_BYTES = 4;

/** Makes a ciphertext that names its send. */
export function ciphertextOf(token: number, filling: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(TOKEN_BYTES + filling.length);
  new DataView(bytes.buffer).setUint32(0, token);
  bytes.set(filling, TOKEN_BYTES);
  return bytes;
}

/** Which send a ciphertext is of. */
export function tokenOf(ciphertext: Uint8Array): number {
  return new DataView(ciphertext.buffer, ciphertext.byteOffset, TOKEN_BYTES).getUint32(0);
}

/** All sends of a run. */
export class Sends {
  readonly #sends: Send[] = [];
  readonly #bySequence = new Map<string, { send: Send; attempt: Attempt }>();
  readonly #positions = new Map<number, number>();

  get all(): readonly Send[] {
    return this.#sends;
  }

  get(token: number): Send | undefined {
    return this.#sends[token];
  }

  /** A client has something to send. */
  begin(send: Omit<Send, "token" | "attempts" | "full" | "isAccepted">): Send {
    const begun = { ...send, token: this.#sends.length, attempts: [], full: [], isAccepted: false };
    this.#sends.push(begun);
    return begun;
  }

  /** A client sends it. */
  attempt(send: Send, connectionId: number, sequence: number, retry: boolean): void {
    const position = (this.#positions.get(connectionId) ?? 0) + 1;
    this.#positions.set(connectionId, position);
    const attempt: Attempt = { connectionId, position, retry, sequence, taken: [], answers: [] };
    send.attempts.push(attempt);
    this.#bySequence.set(`${connectionId}/${sequence}`, { send, attempt });
  }

  /** The send that a sequence of a connection stands for. */
  find(connectionId: number, sequence: number): { send: Send; attempt: Attempt } | undefined {
    return this.#bySequence.get(`${connectionId}/${sequence}`);
  }
}

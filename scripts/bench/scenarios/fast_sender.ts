/**
 * B10: how much memory one client can make the server take, by a message without an end, and by sending without a pause.
 *
 * Memory is read while it sends. Both clients write whatever the system takes, and never wait for an answer; the second
 * reads what comes.
 * @module
 */
import { v2 } from "../../../lib/protocol/mod.ts";
import { makeRecipients, startSeeded } from "../fleet.ts";
import { connectPeer, deaf } from "../peers.ts";
import { residentKib, settledKib } from "../process_figures.ts";
import type { RawSocket } from "../raw_socket.ts";
import { figure, type Findings } from "../report.ts";
import { inRounds, on, type Scenario } from "../scenario.ts";
import { makeUsers } from "../seed.ts";

/** How often memory is read. */
const LOOK_MS = 100;

/** The wait before it is read first. */
const SETTLE_MS = 200;

/** The longest that one client may take. */
const SEND_MS_MAX = 60_000;

/** The largest ciphertext that the server takes. */
const CIPHERTEXT_BYTES = 60 * 1_024;

/** Bytes of each fragment of the endless message. */
const FRAGMENT_BYTES = 60 * 1_024;

const OPCODE = { continuation: 0, binary: 2 } as const;
const FINAL = 0x80;

/** A frame of 126 to 65,535 bytes; a masking key of zero masks nothing. */
function frame(first: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + payload.length);
  bytes.set([first, 0x80 | 126, payload.length >> 8, payload.length & 0xff]);
  bytes.set(payload, 8);
  return bytes;
}

interface Grown {
  readonly mib: number;
  readonly sentMib: number;
  /** `null` if the server took it all. */
  readonly closeCode: number | null;
}

/** Sends until the server hangs up, or so many bytes are out. */
async function flood(
  bytesMax: number,
  make: (recipient: string) => { readonly first: Uint8Array; readonly others: Uint8Array },
): Promise<Grown> {
  const { recipients, seed } = makeRecipients(1);
  const { first, others } = make(recipients[0] ?? "");
  const [sender = ""] = makeUsers(1);
  return await on(startSeeded(seed, true), async (target) => {
    const socket = await connectPeer(target, sender, deaf);
    const before = await settledKib(target, SETTLE_MS);
    let most = before;
    const looking = setInterval(async () => {
      most = Math.max(most, await residentKib(target.pid));
    }, LOOK_MS);
    const sent = await write(socket, first, others, bytesMax);
    const closeCode = await Promise.race([socket.closed, sent.isCut ? socket.closed : Promise.resolve(null)]);
    most = Math.max(most, await residentKib(target.pid));
    clearInterval(looking);
    socket.destroy();
    return { mib: (most - before) / 1_024, sentMib: sent.bytes / 2 ** 20, closeCode };
  });
}

async function write(socket: RawSocket, first: Uint8Array, others: Uint8Array, bytesMax: number) {
  const endsAt = performance.now() + SEND_MS_MAX;
  let bytes = 0;
  try {
    await socket.write(first);
    while (bytes < bytesMax && performance.now() < endsAt) {
      await socket.write(others);
      bytes += others.length;
    }
    return { bytes, isCut: false };
  } catch {
    return { bytes, isCut: true };
  }
}

function endless(): { first: Uint8Array; others: Uint8Array } {
  const fragment = new Uint8Array(FRAGMENT_BYTES);
  return { first: frame(OPCODE.binary, fragment), others: frame(OPCODE.continuation, fragment) };
}

function messages(recipient: string): { first: Uint8Array; others: Uint8Array } {
  const message = {
    type: "user_message",
    message: {
      to: { userId: recipient, deviceId: 1 },
      messageId: new Uint8Array(16),
      ciphertext: new Uint8Array(CIPHERTEXT_BYTES),
      transient: false,
      retry: false,
      ttlSeconds: 0,
    },
  } as const;
  const bytes = frame(FINAL | OPCODE.binary, v2.encodeClientMessage(message, 1));
  return { first: bytes, others: bytes };
}

/** What one client can make the server take. */
export const fastSender: Scenario = {
  title: "one client that sends without a pause: how far resident memory grew",
  async run({ settings, progress }): Promise<Findings> {
    const { bytesMax } = settings.flood;
    const rounds = await inRounds(settings.rounds, async (round) => {
      const endlessly = await flood(bytesMax, endless);
      const fast = await flood(bytesMax, messages);
      const told = ({ mib, sentMib, closeCode }: Grown) =>
        `${mib.toFixed(0)} MiB for ${sentMib.toFixed(0)} MiB, ${
          closeCode === null ? "not closed" : closeCode
        }`;
      progress(`B10 round ${round}: endless message ${told(endlessly)}; messages ${told(fast)}`);
      return { endlessly, fast };
    });
    return {
      figures: [
        figure("one message without an end: memory", "MiB", rounds.map((r) => r.endlessly.mib)),
        figure("one message without an end: was sent", "MiB", rounds.map((r) => r.endlessly.sentMib)),
        figure("messages of 60 KiB without a pause: memory", "MiB", rounds.map((r) => r.fast.mib)),
        figure("messages of 60 KiB without a pause: were sent", "MiB", rounds.map((r) => r.fast.sentMib)),
      ],
      notes: [
        `closed with ${rounds.map((r) => r.endlessly.closeCode ?? "nothing").join(", ")}; and with ${
          rounds.map((r) => r.fast.closeCode ?? "nothing").join(", ")
        }`,
        `ends after ${Math.round(bytesMax / 1e6)} MB, ${SEND_MS_MAX / 1_000} s, or when the server hangs up`,
      ],
    };
  },
};

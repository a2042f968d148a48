/** Envelopes to begin with: those of the test vectors, good and bad. */
import { HEADER_BYTES, type Version } from "../../lib/protocol/mod.ts";

/** One envelope, and who sends such ones. */
export interface SeedEnvelope {
  readonly version: Version;
  readonly side: "client" | "server";
  readonly bytes: Uint8Array;
  readonly type: number;
  readonly payload: Uint8Array;
}

async function readVectors(version: Version, side: SeedEnvelope["side"], kind: "good" | "bad") {
  const file = new URL(`../vectors/v${version}_${side}_${kind}.json`, import.meta.url);
  const entries: { hex: string }[] = JSON.parse(await Deno.readTextFile(file));
  return entries.map(({ hex }): SeedEnvelope => {
    const bytes = Uint8Array.fromHex(hex);
    return { version, side, bytes, type: bytes[5] ?? 0, payload: bytes.subarray(HEADER_BYTES) };
  });
}

/** Reads all of them. */
export async function readSeedEnvelopes(): Promise<SeedEnvelope[]> {
  const files = ([1, 2] as const).flatMap((version) =>
    (["client", "server"] as const).flatMap((side) =>
      (["good", "bad"] as const).map((kind) => readVectors(version, side, kind))
    )
  );
  return (await Promise.all(files)).flat();
}

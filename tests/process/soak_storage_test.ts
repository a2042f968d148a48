/** Storage that is full, or does not answer: `deno task soak --only disk_full,files_limited,storage_locked` in short. */
import { diskFull, filesLimited } from "../../scripts/soak/faults/disk_full.ts";
import { storageLocked } from "../../scripts/soak/faults/storage_hangs.ts";
import { requireUnharmed } from "./soak_findings.ts";

Deno.test("on a full disk sends are refused with 109, and nothing that was acknowledged is lost", async () => {
  await requireUnharmed("disk_full", diskFull);
});

Deno.test("the same where the database's files may grow no further", async () => {
  await requireUnharmed("files_limited", filesLimited);
});

Deno.test("while another process holds the lock of the database sends are refused in time, then go on", async () => {
  await requireUnharmed("storage_locked", storageLocked);
});

/** Every fault that a server is brought into, by its name. */
import { diskFull, filesLimited } from "./faults/disk_full.ts";
import { halfOpen } from "./faults/half_open.ts";
import { kills } from "./faults/kills.ts";
import { noFiles } from "./faults/no_files.ts";
import { stampede } from "./faults/stampede.ts";
import { clientStopped, serverStopped } from "./faults/stopped.ts";
import { stuckClients } from "./faults/stuck_clients.ts";
import { storageFrozen, storageLocked } from "./faults/storage_hangs.ts";
import type { FaultScenario } from "./scenario.ts";

/** The faults, in the order in which they run. */
export const SCENARIOS: Readonly<Record<string, FaultScenario>> = {
  kills,
  disk_full: diskFull,
  files_limited: filesLimited,
  storage_locked: storageLocked,
  storage_frozen: storageFrozen,
  server_stopped: serverStopped,
  client_stopped: clientStopped,
  stampede,
  stuck_clients: stuckClients,
  half_open: halfOpen,
  no_files: noFiles,
};

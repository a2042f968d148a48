/**
 * Storage on Deno KV: the only part that names a key or touches a database handle.
 * @module
 */
import type { Metrics } from "../metrics.ts";
import type { Database } from "./database.ts";
import { AcceptedSends } from "./accepted.ts";
import { Devices } from "./devices.ts";
import { IdSource } from "./ids.ts";
import { Mailboxes } from "./mailbox.ts";
import { Postings } from "./postings.ts";
import { PreKeys } from "./prekeys.ts";
import { Registrations } from "./registrations.ts";
import { Sessions } from "./sessions.ts";
import { SetAside } from "./set_aside.ts";
import { Trash } from "./trash.ts";
import { WaitingCounts } from "./waiting.ts";
import { Writer } from "./writer.ts";

export { Database, unavailable } from "./database.ts";
export { DatabaseError, openDatabase } from "./open_database.ts";
export type { DeviceList, ListedDevice, StoredDevice } from "./devices.ts";
export type { Page } from "./mailbox.ts";
export type { MailboxEntry } from "./mailbox_entry.ts";
export { lookThrough } from "./look_through.ts";
export type { Amount } from "./tally.ts";
export { scanAside } from "./set_aside.ts";
export type { LostReport, Waiting } from "./waiting.ts";
export type { SendIdentity } from "./accepted.ts";
export type { Posting } from "./postings.ts";
export type { ClaimOf, TakenBundle } from "./claims.ts";
export { loadSecret } from "./secret.ts";

/** Everything that is kept, over one open database. */
export interface Store {
  readonly database: Database;
  readonly writer: Writer;
  readonly ids: IdSource;
  readonly devices: Devices;
  readonly registrations: Registrations;
  readonly preKeys: PreKeys;
  readonly mailboxes: Mailboxes;
  readonly setAside: SetAside;
  readonly waiting: WaitingCounts;
  readonly accepted: AcceptedSends;
  readonly postings: Postings;
  readonly sessions: Sessions;
  readonly trash: Trash;
}

/** Makes the store over an open database. */
export async function createStore(database: Database, metrics: Metrics): Promise<Store> {
  const writer = new Writer(database, metrics);
  const devices = new Devices(database);
  const accepted = new AcceptedSends(database, writer);
  return {
    database,
    writer,
    ids: await IdSource.open(database),
    devices,
    registrations: new Registrations(database, writer, devices),
    preKeys: new PreKeys(database, writer),
    mailboxes: new Mailboxes(database, writer),
    setAside: new SetAside(database, writer),
    waiting: new WaitingCounts(database, writer),
    accepted,
    postings: new Postings(writer, accepted),
    sessions: new Sessions(database, writer),
    trash: new Trash(database, writer),
  };
}

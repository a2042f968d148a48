/**
 * Bugs that are put into the server for a run, each of a kind that others have shipped: a simulation that does not find
 * them proves nothing.
 */
import { addressKey } from "../../lib/address.ts";
import type { MailboxEntry } from "../../lib/service/mod.ts";
import type { Store } from "../../lib/store/mod.ts";
import type { Bug } from "./cluster.ts";
import type { Asked } from "./kv_state.ts";
import { isAsideKey } from "./set_aside.ts";

/** An Ack moves a mark: what came before it is deleted with it. */
function acknowledgeUpTo({ mailboxes }: Store): void {
  const stored = new Map<string, Map<string, MailboxEntry>>();
  const append = mailboxes.append.bind(mailboxes);
  const remove = mailboxes.remove.bind(mailboxes);
  mailboxes.append = (to, epoch, ...rest) => {
    const entry = append(to, epoch, ...rest);
    const name = `${addressKey(to)}/${epoch}`;
    stored.set(name, (stored.get(name) ?? new Map()).set(entry.idKey, entry));
    return entry;
  };
  mailboxes.remove = (address, entry, settle) => {
    const waiting = stored.get(`${addressKey(address)}/${entry.epoch}`);
    for (const [idKey, earlier] of waiting ?? []) {
      if (idKey > entry.idKey) continue;
      waiting?.delete(idKey);
      if (idKey !== entry.idKey) remove(address, earlier, () => {});
    }
    remove(address, entry, settle);
  };
}

/** The sender is told before storage has the message. */
function acknowledgeAtOnce({ mailboxes }: Store): void {
  const append = mailboxes.append.bind(mailboxes);
  mailboxes.append = (to, epoch, message, addition, settle) => {
    const entry = append(to, epoch, message, addition, () => {});
    queueMicrotask(() => settle(null));
    return entry;
  };
}

/** Nobody remembers what was accepted. */
function forgetSends({ accepted }: Store): void {
  accepted.find = () => Promise.resolve({ accepted: null, rows: 0 });
  accepted.requireNew = () => {};
}

/** Ids go back when the clock does. */
function followTheClock({ ids, database }: Store): void {
  const next = ids.next.bind(ids);
  ids.next = () => {
    const id = next();
    new DataView(id.buffer).setBigUint64(0, BigInt(database.clock.now()) << 16n);
    return id;
  };
}

/** What has expired is delivered all the same. */
function deliverExpired({ mailboxes }: Store): void {
  const page = mailboxes.page.bind(mailboxes);
  mailboxes.page = (address, epoch, limit, wants) =>
    page(address, epoch, limit, (entry) => wants({ ...entry, expiresAt: Number.MAX_SAFE_INTEGER }));
}

/** An Ack deletes nothing. */
function keepAcknowledged({ mailboxes }: Store): void {
  mailboxes.remove = (_address, _entry, settle) => settle(null);
}

/** Nobody is woken. */
function ringNobody({ sessions }: Store): void {
  sessions.ring = () => {};
  sessions.bell = () => ({ key: ["nobody"], change: new Uint8Array(1), expireInMs: 1_000 });
}

const isAbout = (kind: string, { key }: { readonly key: Deno.KvKey }) => key[0] === kind;

/** A prekey is popped without looking whether it is still there. */
function popUnchecked({ checks, changes }: Asked): Asked {
  const isTake = changes.some((change) => isAbout("used", change));
  return { changes, checks: isTake ? checks.filter((check) => !isAbout("prekey", check)) : checks };
}

/** Used prekeys are not remembered: who uploads one again has it handed out again. */
function forgetUsed({ checks, changes }: Asked): Asked {
  return { checks, changes: changes.filter((change) => !isAbout("used", change)) };
}

/** A mailbox is not counted when something leaves it. */
function miscount({ checks, changes }: Asked): Asked {
  const isRemoval = changes.some((change) => change.type === "delete" && isAbout("inbox", change));
  return { checks, changes: isRemoval ? changes.filter((change) => !isAbout("waiting", change)) : changes };
}

/** A repeat does not wait until what its sender has under way is durable. */
function repeatAtOnce({ writer }: Store): void {
  writer.flushed = () => Promise.resolve();
}

/** A commit that the database's client sends twice counts twice. */
function repeatBlindly({ checks, changes }: Asked): Asked {
  return { checks: checks.filter((check) => !isAbout("lane", check)), changes };
}

/** A message that is moved behind its mailbox does not arrive there. */
function dropMoved({ checks, changes }: Asked): Asked {
  return { checks, changes: changes.filter(({ type, key }) => type === "delete" || !isAsideKey(key)) };
}

/** The bugs, by what they do. */
export const PLANTED_BUGS: Readonly<Record<string, Bug>> = {
  "an Ack deletes what came before, too": { plant: acknowledgeUpTo },
  "a send is acknowledged before its commit": { plant: acknowledgeAtOnce },
  "a repeated send is not looked up": { plant: forgetSends },
  "ids go back with the clock": { plant: followTheClock },
  "expired messages are delivered": { plant: deliverExpired },
  "an acknowledged message is not deleted": { plant: keepAcknowledged },
  "nobody is woken": { plant: ringNobody },
  "a prekey is taken without a check": { tamper: popUnchecked },
  "used prekeys are not remembered": { tamper: forgetUsed },
  "what leaves a mailbox is not counted": { tamper: miscount },
  "a repeat does not wait for its first attempt": { plant: repeatAtOnce },
  "a commit is repeated without a look": { tamper: repeatBlindly },
  "what is set aside is lost": { tamper: dropMoved },
};

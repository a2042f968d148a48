/**
 * The sources of chance and time that the server, and the packages that it uses, take from the global scope.
 *
 * They are replaced for a run rather than handed in: whatever reads one of them, now or in a later change, gets the
 * seed's numbers; and whatever would wait for the machine's clock fails, since no run could be repeated then.
 */
import type { Random } from "./random.ts";

/** Replaces a property until the end of the scope. */
function replace<T extends object, K extends keyof T>(object: T, name: K, value: T[K]): Disposable {
  const before = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { value, configurable: true, writable: true });
  return {
    [Symbol.dispose]() {
      if (before === undefined) delete object[name];
      else Object.defineProperty(object, name, before);
    },
  };
}

/**
 * Puts the seed in the place of chance, and the run's time in that of the machine's.
 *
 * @param now milliseconds since the epoch, for what looks at the time without a clock (the log).
 */
export function replaceGlobals(random: Random, now: () => number): Disposable {
  const forbidden = (name: string) => () => {
    throw new Error(`${name} in a simulated run: what waits there can't be repeated; take the clock`);
  };
  const stack = new DisposableStack();
  stack.use(replace(Math, "random", () => random.fraction()));
  stack.use(replace(crypto, "getRandomValues", (view) => view === null ? view : random.fill(view)));
  stack.use(replace(crypto, "randomUUID", () => random.uuid()));
  stack.use(replace(Date, "now", now));
  stack.use(replace(performance, "now", now));
  stack.use(replace(globalThis, "setTimeout", forbidden("setTimeout") as unknown as typeof setTimeout));
  stack.use(replace(globalThis, "setInterval", forbidden("setInterval") as unknown as typeof setInterval));
  stack.use(replace(globalThis, "fetch", forbidden("fetch") as typeof fetch));
  stack.use(replace(crypto.subtle, "digest", forbidden("crypto.subtle") as typeof crypto.subtle.digest));
  return stack;
}

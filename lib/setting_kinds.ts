/**
 * What a setting is, and the kinds of value that it can have: how each is written, and what it becomes.
 * @module
 */
import * as v from "valibot";
import { type IpBlock, parseIpBlock } from "./ip_address.ts";

/** A budget: `perSecond` units come in, at most `burst` of them are saved up. `null` is no limit. */
export type Rate = { readonly perSecond: number; readonly burst: number } | null;

/** What a setting's value may look like, and how it is read. */
export interface Kind<T> {
  /** For messages. */
  readonly allowed: string;
  /** Reads a value as it was written; `undefined` if it is not allowed. */
  readonly read: (written: string) => T | undefined;
}

/** One row of the table of settings. */
export interface Setting<T> extends Kind<T> {
  /** The environment variable. */
  readonly env: string;
  /** What it is for, one sentence. */
  readonly help: string;
  /** The default as one would write it; `undefined` if there is none. */
  readonly initial: string | undefined;
  /** Whether the value must not be printed. */
  readonly secret: boolean;
}

/** A row with a default. */
export function setting<T>(env: string, kind: Kind<T>, initial: string, help: string): Setting<T> {
  return { env, help, initial, secret: false, ...kind };
}

/** A row without one: what is not set is `undefined`. */
export function optional<T>(
  env: string,
  kind: Kind<T>,
  help: string,
  secret = false,
): Setting<T | undefined> {
  return { env, help, initial: undefined, secret, ...kind };
}

function reader<T>(schema: v.GenericSchema<string, T>): Kind<T>["read"] {
  return (written) => {
    const result = v.safeParse(schema, written);
    return result.success ? result.output : undefined;
  };
}

const BYTES: Readonly<Record<string, number>> = { "": 1, B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
const MILLISECONDS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A number with a unit, between two bounds. */
function measured(pattern: RegExp, units: Readonly<Record<string, number>>, min: number, max: number) {
  return v.pipe(
    v.string(),
    v.regex(pattern),
    v.transform((written) => {
      const [, digits, unit] = pattern.exec(written) ?? [];
      return Number(digits) * (units[unit ?? ""] ?? Number.NaN);
    }),
    v.minValue(min),
    v.maxValue(max),
  );
}

/** The largest unit in which `value` is a whole number. */
function inUnits(value: number, units: Readonly<Record<string, number>>): string {
  const [unit, factor] = Object.entries(units).filter(([, factor]) => value % factor === 0).at(-1) ?? ["", 1];
  return `${value / factor}${unit}`;
}

/** The kinds. */
export const kinds = {
  /** Text that is not empty. */
  text(allowed: string): Kind<string> {
    return { allowed, read: reader(v.pipe(v.string(), v.nonEmpty())) };
  },

  /** A secret of at least so many bytes. */
  secretText(bytesMin: number): Kind<string> {
    return { allowed: `at least ${bytesMin} bytes`, read: reader(v.pipe(v.string(), v.minBytes(bytesMin))) };
  },

  /** The URL of a service. A secret in it would end up in logs. */
  serviceUrl: {
    allowed: "an https or http URL, without a user and password",
    read: reader(v.pipe(
      v.string(),
      v.transform((written) => URL.parse(written)),
      v.instance(URL),
      v.check(({ protocol, username, password }) =>
        /^https?:$/.test(protocol) && username === "" && password === ""
      ),
    )),
  } satisfies Kind<URL>,

  /** One of some words. */
  choice<const T extends readonly string[]>(...words: T): Kind<T[number]> {
    return { allowed: words.join(", "), read: reader(v.pipe(v.string(), v.picklist(words))) };
  },

  /** A whole number. */
  count(min: number, max: number): Kind<number> {
    return {
      allowed: `a whole number from ${min} to ${max}`,
      read: reader(measured(/^([0-9]{1,12})$/, BYTES, min, max)),
    };
  },

  /** A size, in bytes or with `KiB`, `MiB`, `GiB`. */
  size(min: number, max: number): Kind<number> {
    return {
      allowed: `a size from ${inUnits(min, BYTES)} to ${inUnits(max, BYTES)}, such as 4096, 60KiB or 1MiB`,
      read: reader(measured(/^([0-9]{1,15})(B|KiB|MiB|GiB)?$/, BYTES, min, max)),
    };
  },

  /** A duration with its unit. The value is in milliseconds. */
  duration(minMs: number, maxMs: number): Kind<number> {
    return {
      allowed: `a duration from ${inUnits(minMs, MILLISECONDS)} to ${
        inUnits(maxMs, MILLISECONDS)
      }, such as 30s, 12h or 30d`,
      read: reader(measured(/^([0-9]{1,12})(ms|s|m|h|d)$/, MILLISECONDS, minMs, maxMs)),
    };
  },

  /** Addresses of the network and blocks of them, with commas between. */
  networks: {
    allowed: "IP addresses and blocks of them with commas between, such as 127.0.0.1, ::1 or 10.0.0.0/8, " +
      "no bit set behind a prefix",
    read: (written) => {
      const blocks = written.split(",").map((part) => parseIpBlock(part.trim()));
      return blocks.some((block) => block === null) ? undefined : blocks.flatMap((block) => block ?? []);
    },
  } satisfies Kind<readonly IpBlock[]>,

  /** A budget, or `off`. */
  rate: {
    allowed: "off, or units a second and the most saved up, such as 200/s:2000 or 0.1/s:20",
    read: reader(v.pipe(
      v.string(),
      v.regex(/^(off|[0-9]{1,9}(\.[0-9]{1,6})?\/s:[1-9][0-9]{0,8})$/),
      v.transform((written): Rate => {
        if (written === "off") return null;
        const [perSecond, burst] = written.split("/s:");
        return { perSecond: Number(perSecond), burst: Number(burst) };
      }),
      v.check((value) => value === null || value.perSecond > 0),
    )),
  } satisfies Kind<Rate>,
};

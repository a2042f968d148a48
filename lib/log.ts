/**
 * The log: one line an event, for people on a terminal and as JSON elsewhere.
 *
 * Rule: nothing that is logged contains a payload, a token or a key. Log addresses, counts, sizes and codes.
 * @module
 */
import {
  configure,
  getAnsiColorFormatter,
  getJsonLinesFormatter,
  getLogger,
  type Logger,
} from "@logtape/logtape";

/** A logger of one part of the server, such as `store`. */
export function logger(part: string): Logger {
  return getLogger(["messaging", part]);
}

/** Sets the log up; until then nothing is written. */
export async function configureLog(options: {
  readonly level: "debug" | "info" | "warning" | "error";
  readonly format: "pretty" | "json";
}): Promise<void> {
  const formatter = options.format === "json"
    ? getJsonLinesFormatter()
    : getAnsiColorFormatter({ timestamp: "time", category: (category) => category.slice(1).join(".") });
  await configure({
    reset: true,
    // Everything goes to stderr: stdout belongs to what a command prints for its caller.
    sinks: { stderr: (record) => console.error(formatter(record).trimEnd()) },
    loggers: [
      { category: ["messaging"], lowestLevel: options.level, sinks: ["stderr"] },
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["stderr"] },
    ],
  });
}

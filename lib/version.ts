/**
 * Which release this is.
 * @module
 */

/** The version of the server, by semantic versioning. */
export const VERSION = "0.1.0";

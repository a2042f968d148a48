/** Signal's own client library (AGPL), for tests only: named here alone, and never shipped. */
export * from "npm:@signalapp/libsignal-client@0.103.0";

/** A client library of classic X3DH (GPL), for tests only: named here alone, and never shipped. */
export * from "npm:@privacyresearch/libsignal-protocol-typescript@0.0.16";

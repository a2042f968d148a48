/**
 * Tests of numbers in bytes, beside what a `DataView` makes of the same.
 * @module
 */
import assert from "node:assert/strict";
import { readUint16, readUint32, readUint64, writeUint16, writeUint32, writeUint64 } from "../lib/bytes.ts";
import fc from "./support/fast_check.ts";

const offset = fc.nat(5);

/** What was written at the offset, as a view reads it; the bytes around it are untouched. */
function written(bytes: number, at: number, write: (into: Uint8Array) => void): DataView {
  const into = new Uint8Array(16).fill(0xaa);
  write(into);
  assert.ok(into.every((byte, i) => (i >= at && i < at + bytes) || byte === 0xaa));
  return new DataView(into.buffer, at, bytes);
}

Deno.test("write…() writes what a view reads, and read…() reads it back", () => {
  fc.assert(fc.property(offset, fc.nat(0xffff), (at, value) => {
    const view = written(2, at, (into) => writeUint16(into, at, value));
    assert.equal(view.getUint16(0), value);
    assert.equal(readUint16(new Uint8Array(view.buffer), at), value);
  }));
  fc.assert(fc.property(offset, fc.nat(0xffff_ffff), (at, value) => {
    const view = written(4, at, (into) => writeUint32(into, at, value));
    assert.equal(view.getUint32(0), value);
    assert.equal(readUint32(new Uint8Array(view.buffer), at), value);
  }));
  fc.assert(fc.property(offset, fc.maxSafeNat(), (at, value) => {
    const view = written(8, at, (into) => writeUint64(into, at, value));
    assert.equal(view.getBigUint64(0), BigInt(value));
    assert.equal(readUint64(new Uint8Array(view.buffer), at), value);
  }));
});

Deno.test("readUint64() tells whatever is too large for a double from what is not", () => {
  const read = (value: bigint) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value);
    return readUint64(bytes, 0);
  };
  assert.equal(read(BigInt(Number.MAX_SAFE_INTEGER)), Number.MAX_SAFE_INTEGER);
  fc.assert(fc.property(fc.bigInt(2n ** 53n, 2n ** 64n - 1n), (value) => {
    assert.ok(read(value) > Number.MAX_SAFE_INTEGER);
  }));
});

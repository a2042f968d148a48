/**
 * Tests of what is cut from sheets.
 * @module
 */
import assert from "node:assert/strict";
import { createSheets } from "../../lib/session/sheets.ts";
import fc from "../support/fast_check.ts";

Deno.test("createSheets() cuts pieces that are empty, as long as asked for, and none of another's", () => {
  const room = createSheets();
  fc.assert(fc.property(fc.array(fc.nat(6_000), { minLength: 1, maxLength: 40 }), (lengths) => {
    const pieces = lengths.map((length, i) => {
      const piece = room(length);
      assert.equal(piece.length, length);
      assert.ok(piece.every((byte) => byte === 0));
      return piece.fill(i + 1);
    });
    pieces.forEach((piece, i) => assert.ok(piece.every((byte) => byte === i + 1)));
  }));
});

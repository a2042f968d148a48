/**
 * Tests of reads that are shared: as few as can be, and none older than the question.
 * @module
 */
import assert from "node:assert/strict";
import { SharedReads } from "../../lib/service/shared_reads.ts";

/** A storage whose reads end when the test says so. */
class Reads {
  readonly underWay: PromiseWithResolvers<string>[] = [];
  readonly shared = new SharedReads<string>(() => {
    const read = Promise.withResolvers<string>();
    this.underWay.push(read);
    return read.promise;
  });

  async end(index: number, found: string | Error): Promise<void> {
    if (typeof found === "string") this.underWay[index]?.resolve(found);
    else this.underWay[index]?.reject(found);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

Deno.test("read() by many at once is two reads, and each gets what was found after it asked", async () => {
  const reads = new Reads();
  const first = reads.shared.read("a");
  const others = Array.from({ length: 100 }, () => reads.shared.read("a"));
  assert.equal(reads.underWay.length, 1);
  await reads.end(0, "old");
  assert.equal(await first, "old");
  assert.equal(reads.underWay.length, 2, "begun after all others had asked");
  const late = reads.shared.read("a");
  await reads.end(1, "new");
  assert.deepEqual(new Set(await Promise.all(others)), new Set(["new"]));
  await reads.end(2, "newest");
  assert.equal(await late, "newest");
  assert.equal(reads.underWay.length, 3);
  assert.equal(reads.shared.size, 0);
});

Deno.test("read() that fails fails for those who waited for it, and the next is made all the same", async () => {
  const reads = new Reads();
  const first = reads.shared.read("a");
  const second = reads.shared.read("a");
  const told = assert.rejects(first, /storage/);
  await reads.end(0, new Error("storage"));
  await told;
  await reads.end(1, "found");
  assert.equal(await second, "found");
  assert.equal(reads.shared.size, 0);
});

Deno.test("read() of different keys do not wait for each other", async () => {
  const reads = new Reads();
  const both = [reads.shared.read("a"), reads.shared.read("b")];
  assert.equal(reads.underWay.length, 2);
  await reads.end(1, "b");
  await reads.end(0, "a");
  assert.deepEqual(await Promise.all(both), ["a", "b"]);
});

/**
 * Maps that grow no further than a bound.
 * @module
 */

/** Removes what has been in a map the longest, until no more than `sizeMax` entries are left. */
export function dropOldest<K>(map: Map<K, unknown>, sizeMax: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= sizeMax) return;
    map.delete(oldest);
  }
}

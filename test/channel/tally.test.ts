import assert from 'node:assert/strict';
import { Tally } from '../soak/tally.js';
import { test } from '../support/test.js';

/** What a tally of ten files reports for these positions, with `sent` descriptors sent. */
function tallied(places: readonly (number | undefined)[]): Partial<Tally> {
  const tally = new Tally(10);
  for (const place of places) tally.arrived(place === undefined ? undefined : place % 10);
  const { received, upTo, missing, doubled, outOfOrder, foreign } = tally;
  return { received, upTo, missing, doubled, outOfOrder, foreign };
}

const WELL = { received: 25, upTo: 25, missing: 0, doubled: 0, outOfOrder: 0, foreign: 0 };
const all: readonly (number | undefined)[] = Array.from({ length: 25 }, (_, place) => place);

test('the soak detects descriptors that are lost, doubled, out of order or foreign', () => {
  assert.deepEqual(tallied(all), WELL);
  assert.deepEqual(tallied(all.toSpliced(12, 3)), { ...WELL, received: 22, missing: 3 });
  assert.deepEqual(tallied(all.slice(0, -2)), { ...WELL, received: 23, upTo: 23 });
  assert.deepEqual(tallied(all.toSpliced(12, 0, 11)), { ...WELL, received: 26, doubled: 1 });
  assert.deepEqual(tallied(all.toSpliced(12, 2, 13, 12)), { ...WELL, outOfOrder: 1 });
  assert.deepEqual(tallied(all.toSpliced(12, 0, undefined)), { ...WELL, received: 26, foreign: 1 });
});

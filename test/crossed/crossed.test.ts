import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import type { FdLike } from 'fdpasser';
import { Random } from '../support/random.js';
import { test } from '../support/test.js';
import { COMBINATIONS, cross, described, type Combination } from './crossing.js';
import { KINDS } from './objects.js';
import type { Outcome, Term, Wire } from './wires.js';

/**
 * The number of samples, or `all`, and the seed. With `CROSSED_ONLY`, only combinations with this in their name run.
 */
const { CROSSED: wanted = '600', CROSSED_SEED, CROSSED_ONLY: only } = process.env;
const seed = Number(CROSSED_SEED ?? Date.now() % 1_000_000);

const random = new Random(seed);
const sampled = COMBINATIONS.filter((combination) =>
  only === undefined
    ? wanted === 'all' || random.below(COMBINATIONS.length) < Number(wanted)
    : described(combination).includes(only),
);

for (const { name } of KINDS) {
  const combinations = sampled.filter(({ kind }) => kind.name === name);
  test(`exactly one side has ${name}, in ${combinations.length} combinations of seed ${seed}`, async () => {
    const failures: string[] = [];
    for (const combination of combinations)
      await cross(combination).catch((error: Error) => failures.push(`${described(combination)}: ${error.message}`));
    assert.equal(failures.length, 0, `${failures.length} failed:\n${failures.join('\n')}`);
  });
}

/** A combination whose wire is changed. */
function changed(name: string, change: (wire: Wire, value: FdLike, term: Term) => Promise<Outcome>): Combination {
  const combination = COMBINATIONS.find((each) => described(each) === name)!;
  const open = (): Wire => {
    const wire = combination.wire.open();
    const send = wire.send.bind(wire);
    return Object.assign(wire, {
      send: (value: FdLike, term: Term) => change({ ...wire, send }, value, term),
    });
  };
  return { ...combination, wire: { ...combination.wire, open } };
}

test('a wire that closes what it was lent is detected', async () => {
  const naive = changed('a number, lent over FdPasser stream: it is taken', async (wire, value, term) => {
    const outcome = await wire.send(value, term);
    closeSync(value as number);
    return outcome;
  });
  await assert.rejects(cross(naive, 200), /holders/);
});

test('a wire that sends twice is detected', async () => {
  const naive = changed('a number, lent over FdPasser stream: it is taken', async (wire, value, term) => {
    await wire.send(value, term);
    return wire.send(value, term);
  });
  await assert.rejects(cross(naive, 200), /it came 2 times/);
});

test('a wire that loses what it took is detected', async () => {
  const naive = changed('a number, given over FdPasser stream: it is taken', async (_, value) => {
    closeSync(value as number);
    return { what: 'sent' };
  });
  await assert.rejects(cross(naive, 200), /it did not come/);
});

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test as nodeTest } from 'node:test';
import { inFull } from './amount.js';
import { killDescendants } from './descendants.js';
import { leftOpen, openDescriptors, until } from './descriptors.js';
import { within } from './limit.js';
import { Missing } from './needs.js';

// Node opens some descriptors of its own when it first needs them: for its first child, and for its first stream. This
// makes it open them here. Otherwise they would count as a test's when standard output is a file.
await once(spawn('true', { stdio: ['ignore', 'pipe', 'ignore'] }).stdout.resume(), 'close');

/**
 * How long one test may take, and a process after its last test, in milliseconds. Generous: only a hang takes longer.
 */
const LIMIT = Number(process.env['FDPASSER_TEST_LIMIT'] ?? 180_000);
const LIMIT_AFTERWARDS = Math.min(LIMIT, 30_000);

let underWay = 0;
let afterwards: NodeJS.Timeout | undefined;

/**
 * A test that must leave open exactly the descriptors that were open before it. Give `title` a fact with a subject.
 * `skip` says why this system cannot run it. Processes that a body has started are killed when it fails or takes too
 * long.
 */
export function test(title: string, body: () => void | Promise<void>, skip: string | false = false): void {
  underWay++;
  clearTimeout(afterwards);
  const over = nodeTest(title, { skip }, async (context) => {
    const before = openDescriptors();
    try {
      await within(LIMIT, Promise.resolve(body()), () => new Error(`it did not end within ${LIMIT} ms`));
    } catch (error) {
      if (error instanceof Missing) return context.skip(error.message);
      killDescendants();
      throw error;
    }
    await until(() => leftOpen(before).length === 0).catch(() => {
      assert.fail(`left open: ${leftOpen(before).join(', ')}`);
    });
  });
  void over.finally(() => {
    if (--underWay === 0) afterwards = setTimeout(endAll, LIMIT_AFTERWARDS).unref();
  });
}

/**
 * `test`, or, if `isShown` is false, what leaves a test out unless this run is in full. A test beside it shows the same
 * then in another case. The runner says how many were left out.
 */
export function partly(isShown: boolean): (title: string, body: () => void | Promise<void>) => void {
  return (title, body) => test(title, body, isShown ? false : inFull);
}

/** A test that only a full run has, because of what it takes. Others show the rule; it shows one more case of it. */
export const testInFull = partly(false);

/** Ends a process that something keeps alive. Otherwise only the much longer limit of its file would end it. */
function endAll(): void {
  const what = process.getActiveResourcesInfo().join(', ');
  process.stderr.write(`This was left when the tests were over, and kept the process alive: ${what}\n`);
  killDescendants();
  process.exit(1);
}

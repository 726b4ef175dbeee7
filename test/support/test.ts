import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test as nodeTest } from 'node:test';
import { killDescendants } from './descendants.js';
import { leftOpen, openDescriptors, until } from './descriptors.js';
import { Missing } from './needs.js';

// Node opens some descriptors of its own when it first needs them: here for its first child, and for its first stream,
// which would else be a test's where standard output is a file.
await once(spawn('true', { stdio: ['ignore', 'pipe', 'ignore'] }).stdout.resume(), 'close');

/**
 * A test that must leave open exactly the descriptors that were open before it. Give `title` a fact with a subject.
 * `skip` says why this system cannot try it. What a body that fails has started is killed.
 */
export function test(title: string, body: () => void | Promise<void>, skip: string | false = false): void {
  // Generous: only a hang takes as long.
  void nodeTest(title, { timeout: 180_000, skip }, async (context) => {
    const before = openDescriptors();
    try {
      await body();
    } catch (error) {
      if (error instanceof Missing) return context.skip(error.message);
      killDescendants();
      throw error;
    }
    await until(() => leftOpen(before).length === 0).catch(() => {
      assert.fail(`left open: ${leftOpen(before).join(', ')}`);
    });
  });
}

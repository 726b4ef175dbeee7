import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test as nodeTest } from 'node:test';
import { leftOpen, openDescriptors, until } from './descriptors.js';

// Node opens some descriptors of its own when it first needs them: here for its first child, and for its first stream,
// which would else be a test's where standard output is a file.
await once(spawn('true', { stdio: ['ignore', 'pipe', 'ignore'] }).stdout.resume(), 'close');

/**
 * A test that must leave open exactly the descriptors that were open before it. Give `body` a name that is a fact. `skip` says
 * why this system cannot try it.
 */
export function test(title: string, body: () => void | Promise<void>, skip: string | false = false): void {
  // Generous: only a hang takes as long.
  void nodeTest(title, { timeout: 180_000, skip }, async () => {
    const before = openDescriptors();
    await body();
    await until(() => leftOpen(before).length === 0).catch(() => {
      assert.fail(`left open: ${leftOpen(before).join(', ')}`);
    });
  });
}

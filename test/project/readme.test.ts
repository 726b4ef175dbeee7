import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ended } from '../support/child.js';
import { test } from '../support/test.js';

const path = (name: string): string => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const read = (name: string): string => readFileSync(path(name), 'utf8');

/** The code in a document, in order. */
function codeIn(document: string): string[] {
  return [...document.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => match[1]!);
}

test('the example of the README is the one in examples', () => {
  const [parent, child] = codeIn(read('README.md'));
  assert.equal(parent, read('examples/parent.js'));
  assert.equal(child, read('examples/child.js'));
});

test('the example of the README passes its file to the child, and ends by itself', async () => {
  const parent = spawn(process.execPath, [path('examples/parent.js')], { stdio: ['ignore', 'pipe', 'pipe'] });
  const { code, signal, stdout, stderr } = await ended(parent);
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' }, stdout);
  const [line] = read('examples/parent.js').split('\n');
  const match =
    /^pid (\d+) opened parent\.js as descriptor \d+\npid (\d+) received parent\.js as descriptor \d+; (.*)\n$/.exec(
      stdout,
    );
  assert.ok(match, stdout);
  assert.equal(match[1], String(parent.pid));
  assert.notEqual(match[2], match[1]);
  assert.equal(match[3], `its first line is: ${line}`);
});

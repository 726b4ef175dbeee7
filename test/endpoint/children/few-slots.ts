/**
 * Listens on the path argv[2], with a mode that the umask narrows. It retries with more and more free slots until it
 * succeeds.
 */
import assert from 'node:assert/strict';
import { closeSync, existsSync, lstatSync } from 'node:fs';
import { listen } from 'fdpasser';
import { fillTable } from '../../support/fill-table.js';

const path = process.argv[2]!;
listen(path).close(); // so that everything that is loaded on demand is loaded then
process.umask(0o077);
const filler = fillTable();
const codes = new Set<unknown>();
for (;;) {
  try {
    using server = listen(path, { mode: 0o666 });
    assert.equal(lstatSync(server.path).mode & 0o777, 0o666);
    break;
  } catch (error) {
    codes.add((error as NodeJS.ErrnoException).code);
    assert.equal(existsSync(path), false);
    closeSync(filler.pop()!);
  }
}
for (const fd of filler) closeSync(fd);
assert.equal(existsSync(path), false);
assert.deepEqual([...codes], ['EMFILE']);

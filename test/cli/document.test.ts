import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { command, Folder } from '../support/command.js';
import { test } from '../support/test.js';

const text = readFileSync(fileURLToPath(new URL('../../../docs/command.md', import.meta.url)), 'utf8');

/**
 * Examples of the document: each command after `$ `, and `> ` for its further lines, with what it writes. `…` stands
 * for any text, and alone in a line for any number of lines.
 */
for (const [index, [, example]] of [...text.matchAll(/^```console\n(.*?)^```$/gms)].entries())
  test(`example ${index + 1} of docs/command.md writes the output in the document: ${example!.split('\n')[0]}`, async () => {
    using folder = new Folder();
    const script = [...example!.matchAll(/^\$ .*\n(?:> .*\n)*/gm)]
      .map(([lines]) => `code=$?; printf '%s' ${quoted(lines)}; (exit $code)\n${lines.replaceAll(/^[$>] /gm, '')}`)
      .join('');
    const { stdout } = await folder.shell(script);
    const expected = escaped(example!).replaceAll(/^…\n/gm, '(?:.*\n)*?').replaceAll('…', '[^]*?');
    assert.match(stdout, new RegExp(`^${expected}$`), stdout);
  });

/** Each section "fdpasser NAME" begins with a block of the command's usage. */
const sections = [...text.matchAll(/^## fdpasser (\w+)\n\n```text\n(.*?)^```$(.*?)(?=^## |$(?![^]))/gms)];

test('the document has the usage and every option of each subcommand, and no others', async () => {
  const { stdout } = await command(['--help']);
  const names = [...stdout.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name!);
  assert.deepEqual(
    sections.map(([, name]) => name),
    names,
  );
  for (const [, name, usage, body] of sections) {
    const help = (await command([name!, '--help'])).stdout;
    assert.ok(help.startsWith(`usage: ${usage!.trimEnd().replaceAll('\n', '\n       ')}\n`), `${name}: ${usage}`);
    assert.deepEqual(options(body!), options(help), name);
  }
});

function options(text: string): string[] {
  return [...new Set(text.match(/(?<![\w-])--[a-z][a-z-]*/g))].toSorted();
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

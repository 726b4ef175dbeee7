import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from '../support/test.js';

const path = (name: string): string => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const read = (name: string): string => readFileSync(path(name), 'utf8');

test('the document of an entry point has every public name of it in a heading or marked as code', () => {
  for (const entry of ['systemd', 'takeover', 'workers']) {
    const names = [...read(`src/${entry}/index.ts`).matchAll(/\{([^}]*)\}/g)].flatMap((match) => match[1]!.split(','));
    for (const name of names.map((text) => text.replace('type ', '').trim()).filter((text) => text !== ''))
      assert.match(read(`docs/${entry}.md`), new RegExp(`^#+ .*\\b${name}\\b|\`${name}\``, 'm'), name);
  }
});

test('the document of errors has a heading for every code of the library, and no others', () => {
  const headings = read('docs/errors.md')
    .match(/^#+ .*$/gm)!
    .join('\n');
  const codes = codesIn(read('src/errors.ts'));
  assert.ok(codes.length > 0);
  assert.deepEqual(codesIn(headings), codes);
});

test('every document links to files and headings that exist', () => {
  const documents = readdirSync(path('.')).concat(
    readdirSync(path('docs'), { encoding: 'utf8', recursive: true }).map((name) => `docs/${name}`),
  );
  for (const document of documents.filter((name) => name.endsWith('.md'))) {
    for (const [, target] of read(document).matchAll(/\]\((?!https?:)([^)]*)\)/g)) {
      const [file, heading] = target!.split('#') as [string, string?];
      const to = file === '' ? document : fileURLToPath(new URL(file, `file:///${document}`)).slice(1);
      assert.ok(existsSync(path(to)), `${document} links to ${target}`);
      if (heading === undefined) continue;
      const anchors = [...read(to).matchAll(/^#+ (.*)$/gm)].map((match) => anchor(match[1]!));
      assert.ok(anchors.includes(heading), `${document} links to ${target}; there are ${anchors.join(' ')}`);
    }
  }
});

/** The anchor that GitHub gives a heading. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}

function codesIn(text: string): string[] {
  return [...new Set(text.match(/ERR_FDPASSER_\w+/g))].toSorted();
}

test('npm runs none of our scripts before or after another because of its name', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  for (const name of Object.keys(scripts)) {
    assert.ok(!(`pre${name}` in scripts), name); // such as prebuild, if there were a build
    assert.ok(!(`post${name}` in scripts), name);
  }
});

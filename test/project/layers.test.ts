import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from '../support/test.js';

const source = fileURLToPath(new URL('../../../src', import.meta.url));

/** Folders and files of `src/`, in the order of docs/design.md: none uses one before it, nor one beside it. */
const LAYERS = [
  ['cli'],
  ['index.ts'],
  ['workers'],
  ['takeover'],
  ['systemd'],
  ['passer', 'stream', 'channel'],
  ['wire'],
  ['endpoint'],
  ['descriptor'],
  ['native'],
  ['common', 'errors.ts'],
];

/** Files of the lowest layer may use each other. */
const BASE = LAYERS.length - 1;

function layerOf(file: string): number {
  const layer = LAYERS.findIndex((names) => names.includes(file.split('/')[0]!));
  assert.notEqual(layer, -1, `${file} is in no layer: add its folder here and to docs/design.md`);
  return layer;
}

test('no source uses a layer above its own', () => {
  const files = readdirSync(source, { encoding: 'utf8', recursive: true }).filter((name) => name.endsWith('.ts'));
  assert.ok(files.length > 40);
  for (const file of files)
    for (const [, used] of readFileSync(`${source}/${file}`, 'utf8').matchAll(/from '(\.[^']*)\.js'/g)) {
      const target = `${posix.join(posix.dirname(file), used!)}.ts`;
      const [own, other] = [layerOf(file), layerOf(target)];
      const beside = own === other && own !== BASE && file.split('/')[0] !== target.split('/')[0];
      assert.ok(own <= other && !beside, `src/${file} uses src/${target}`);
    }
});

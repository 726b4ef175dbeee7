import assert from 'node:assert/strict';
import type { Survived } from '../native/children/hostile.js';
import type { Type } from './channels.js';
import { ended, message, startChild } from './child.js';

/**
 * Far more than a Node process, the limits of these channels, and uncollected garbage take together. A sanitizer keeps
 * freed memory for a while, to detect its use.
 */
const MEMORY = (process.env.ASAN_OPTIONS === undefined ? 300 : 1000) << 20;

/** Sends `count` hostile frames to one part of the library, in a process of its own. */
export async function survive(
  what: 'channel' | 'passer' | 'stream',
  type: Type | 'dgram',
  count: number,
): Promise<Survived> {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  const told = `SEED=${seed}`;
  const child = startChild('native/hostile', { args: [what, type, `${seed}`, `${count}`] });
  const whenEnded = ended(child);
  const survived = await Promise.race([message<Survived>(child), whenEnded]);
  const { code, signal, stderr } = await whenEnded;
  assert.deepEqual(
    { code, signal, stderr },
    { code: 0, signal: null, stderr: '' },
    `${told}: ${code ?? signal} ${stderr}`,
  );
  assert.ok('frames' in survived);
  assert.ok(survived.frames >= count, told);
  assert.deepEqual(survived.left, [], told);
  assert.ok(survived.mostMemory < MEMORY, `${told}: took ${survived.mostMemory} bytes`);
  return survived;
}

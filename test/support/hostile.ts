import assert from 'node:assert/strict';
import type { Survived } from '../native/children/hostile.js';
import type { Type } from './channels.js';
import { ended, message, startChild } from './child.js';

/**
 * Far more than the limits of these channels allow, a Node process, and what waits for the collector. A sanitizer keeps
 * what was freed for a while, to find its use.
 */
const MEMORY = (process.env.ASAN_OPTIONS === undefined ? 300 : 1000) << 20;

/** Lets one part of the library, in a process of its own, put up with `count` frames. */
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

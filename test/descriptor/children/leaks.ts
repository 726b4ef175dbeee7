/** Leaks argv[2] OwnedFds, and argv[3] more after the warning about those. */
import { openSync } from 'node:fs';
import { OwnedFd } from 'fdpasser';
import { collectUntil, openDescriptors } from '../../support/descriptors.js';

const first = Number(process.argv[2]);
const more = Number(process.argv[3]);

function leakHere(count: number): void {
  for (let i = 0; i < count; i++) void new OwnedFd(openSync('/dev/zero', 'r'));
}

function openHere(): number {
  return [...openDescriptors().values()].filter((name) => name === '/dev/zero').length;
}

const before = openHere();
for (const count of [first, more]) {
  leakHere(count);
  await collectUntil(() => openHere() === before);
}

/** Chooses the worker for a connection, among those that can take one now. */
import type { Member } from './member.js';

export function leastBusy(able: readonly Member[]): Member {
  return able.reduce((best, each) => (each.load < best.load ? each : best));
}

/**
 * Rendezvous hashing: each worker has a score for each string, and the worker with the highest score gets the string.
 * So when a worker goes, only its strings move, and they come back to the worker that takes its slot.
 */
export function sameFor(key: string, able: readonly Member[]): Member {
  const seed = hash(key, 0x811c_9dc5);
  return able.reduce((best, each) => (score(seed, each) > score(seed, best) ? each : best));
}

function score(seed: number, { slot }: Member): number {
  return mix(seed ^ Math.imul(slot + 1, 0x9e37_79b1));
}

/** FNV-1a, over UTF-16 units. */
function hash(text: string, seed: number): number {
  let value = seed;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x0100_0193);
  return value;
}

/** Each bit of the result depends on each of the value (the finalizer of MurmurHash3). */
function mix(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85eb_ca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2_ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/**
 * The common part of all sides in Node: each line of standard input is a number of descriptors. The side makes a run
 * and answers with a line of JSON.
 */
import { openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** The number of the socket that bench/pair.js passes. */
export const SOCKET = 3;

/** The descriptor that all rows send, again and again. */
export const passed = openSync('/dev/null');

/** 100 bytes as JSON. */
export const VALUE = {
  id: 123456789,
  path: '/var/lib/service/instance/state',
  flags: ['read', 'write'],
  note: 'as it is',
};

/**
 * Serves runs. `run(count)` resolves when the side has done its part, with its further figures. A receiving side writes
 * "ready" before it waits, so that its sender begins then.
 */
export async function serve(run, { receives }) {
  for await (const line of createInterface({ input: process.stdin })) {
    const before = process.cpuUsage();
    const begin = now();
    if (receives) console.log('ready');
    const more = await run(Number(line));
    const end = now();
    const { user, system } = process.cpuUsage(before);
    console.log(JSON.stringify({ begin, end, cpu: (user + system) * 1000, peak: peak(), more }));
  }
  process.exit();
}

/** Nanoseconds on the clock that all processes share. */
export function now() {
  return Number(process.hrtime.bigint());
}

function peak() {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
}

/** A promise that something else resolves. */
export function deferred() {
  let resolve;
  const promise = new Promise((settle) => (resolve = settle));
  return { promise, resolve };
}

/** Throws in every other callback, and reports which were called and what was caught. */
import { closeSync } from 'node:fs';
import { anonymousFile } from '../../support/descriptors.js';
import { connected } from '../../support/passing.js';

const COUNT = 6;
const calls: string[] = [];
const caught: string[] = [];
process.on('uncaughtException', (error) => caught.push(error.message));

const [one, other] = connected({ batch: Number(process.argv[2]) });
let left = 2 * COUNT;

function note(what: string, i: number): void {
  calls.push(`${what} ${i}`);
  if (--left === 0) setImmediate(finish);
  if (i % 2 === 0) throw new Error(`${what} ${i}`);
}

for (let i = 0; i < COUNT; i++) {
  one.pushSendFh(anonymousFile(), () => note('sent', i));
  other.pushRecvFh((fd) => {
    closeSync(fd.take());
    note('received', i);
  });
}

function finish(): void {
  process.send!({ calls, caught });
  process.disconnect();
  one.destroy();
  other.destroy();
}

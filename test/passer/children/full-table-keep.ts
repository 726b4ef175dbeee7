/**
 * Receives argv[2] descriptors and keeps them open, in a table with too little room. Whenever it is full, it sends one
 * of them back and then closes some. It reports how many it has each time, and the outcome at the end.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { FdPasser, type OwnedFd } from 'fdpasser';
import { identity, leftOpen, openDescriptors } from '../../support/descriptors.js';
import { Noise } from '../../support/noise.js';

export interface Report {
  received: string[];
  sentBack: string[];
  exhausted: number;
  resumed: number;
  /** How late a timer ran at worst, in milliseconds, without the machine's own delays. */
  latest: number;
}

const PERIOD = 10;
const count = Number(process.argv[2]);
const before = openDescriptors();
before.delete(3);
const passer = FdPasser.inherit();
const kept: OwnedFd[] = [];
const report: Report = { received: [], sentBack: [], exhausted: 0, resumed: 0, latest: 0 };

passer.on('exhausted', () => {
  const round = ++report.exhausted;
  report.sentBack.push(identity(kept[0]!.fd));
  passer.pushSendFh(kept[0]!, { keepOpen: true }, () => {
    assert.throws(() => openSync('/dev/null', 'r'), { code: 'EMFILE' });
    // The library knows of its own closes. It learns of others' closes by trying again.
    for (const fd of kept.splice(0, 1 + (round % 7))) {
      if (round % 2 === 0) fd.close();
      else closeSync(fd.take());
    }
  });
});
passer.on('resumed', () => report.resumed++);

const noise = new Noise();
let last = performance.now();
const timer = setInterval(() => {
  const now = performance.now();
  const late = now - last - PERIOD;
  report.latest = Math.max(report.latest, late - noise.sinceLast());
  last = now;
}, PERIOD);

await new Promise<void>((resolve) => {
  for (let i = 0; i < count; i++)
    passer.pushRecvFh((fd) => {
      kept.push(fd);
      process.send!(report.received.push(identity(fd.fd)));
      if (report.received.length === count) resolve();
    });
});
clearInterval(timer);
noise.close();
for (const fd of kept) fd.close();
await passer.close();
assert.deepEqual(leftOpen(before), []);
process.send!(report, () => process.disconnect());

/**
 * Sends 1,000 descriptors as a user without privileges, so that the kernel's limit of descriptors in flight applies.
 * Reports when it has to wait, and the processor time of waiting.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { FdPasser, socketpair } from 'fdpasser';
import { identity } from '../../support/descriptors.js';

export interface Stuck {
  sent: number;
  /** Processor time over elapsed time. */
  busy: number;
}

const COUNT = 1000;
const FILES = 10;
const WAITING = 2000;

if (process.getuid!() === 0) {
  process.setgroups!([]);
  process.setgid!(65534);
  process.setuid!(65534);
}
const passer = FdPasser.inherit();
const files = Array.from({ length: FILES }, () => {
  const [file, other] = socketpair();
  other.close();
  return file;
});
let sent = 0;
for (let i = 0; i < COUNT; i++) passer.pushSendFh(files[i % FILES]!, { keepOpen: true }, () => sent++);

for (let last = -1, same = 0; same < 5; same = last === sent && sent > 0 ? same + 1 : 0) {
  last = sent;
  await sleep(50);
}
const [cpu, start, before] = [process.cpuUsage(), performance.now(), sent];
await sleep(WAITING);
const { user, system } = process.cpuUsage(cpu);
const busy = (user + system) / 1000 / (performance.now() - start);
if (sent !== before) throw new Error('was not stuck');
process.send!({ sent, busy } satisfies Stuck);
await passer.close();
process.send!(
  files.map((file) => identity(file.fd)),
  () => process.disconnect(),
);
for (const file of files) file.close();

/** Reports the flags of the socket it was given, then those of each descriptor it receives, which it sends back. */
import { FdPasser } from 'fdpasser';
import { O_NONBLOCK, flagsOf } from '../../support/descriptors.js';

const report = (fd: number): void => void process.send!((flagsOf(fd) & O_NONBLOCK) !== 0);

report(3);
const passer = new FdPasser({ fh: 3, dontSetNonblocking: process.argv[2] === 'leave' });
report(3);
for await (const fd of passer) {
  report(fd.fd);
  passer.pushSendFh(fd);
}
process.disconnect();

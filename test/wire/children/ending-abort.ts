/** Sends more than its peer's socket takes, aborts all that waits, and then has nothing more to do. */
import { FdPasser } from 'fdpasser';
import { anonymousFile } from '../../support/descriptors.js';
import { turns } from '../../support/passing.js';

process.disconnect();
const passer = FdPasser.inherit();
const control = new AbortController();
const fd = anonymousFile();
const sends = Array.from({ length: Number(process.argv[2]) }, () =>
  passer.send(fd, { keepOpen: true, signal: control.signal }).catch(() => {}),
);
await turns();
control.abort();
await Promise.all(sends);

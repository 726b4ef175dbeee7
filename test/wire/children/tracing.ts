/** Passes one descriptor over a passer, and bytes with one over a stream, and ends. */
import { FdPasser, FdStream, socketpair } from 'fdpasser';

const [a, b] = socketpair();
const one = new FdPasser(a);
const other = new FdPasser(b);
await one.send(0, { keepOpen: true });
(await other.receive()).close();
await one.close();

const [c, d] = socketpair();
const writer = new FdStream(c);
const reader = new FdStream(d);
writer.writeWithFds(Buffer.from('abc'), [0], { keepOpen: true });
writer.end();
for await (const _ of reader);

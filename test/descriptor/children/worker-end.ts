/** A worker that gets its end of a pair as a number, and sends back what it receives there. */
import { once } from 'node:events';
import { parentPort } from 'node:worker_threads';
import { FdPasser } from 'fdpasser';

const [fd] = (await once(parentPort!, 'message')) as [number];
await using passer = new FdPasser({ fh: fd });
await passer.send(await passer.receive());

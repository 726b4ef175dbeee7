/** Follows passers that came over passers, as deep as its argument says, and sends back what comes over the last. */
import { FdPasser } from 'fdpasser';

process.disconnect();
let passer = FdPasser.inherit();
for (let depth = Number(process.argv[2]); depth > 0; depth--) {
  await using outer = passer;
  passer = new FdPasser({ fh: await outer.receive() });
}
for await (const fd of passer) passer.pushSendFh(fd);

/** Sends back every descriptor it receives, until its parent closes. */
import { FdPasser } from 'fdpasser';

process.disconnect();
const passer = FdPasser.inherit();
for await (const fd of passer) passer.pushSendFh(fd);

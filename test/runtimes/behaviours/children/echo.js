// Sends back all that comes on descriptor 3.
import { FdPasser } from 'fdpasser';

const passer = FdPasser.inherit();
for await (const fd of passer) await passer.send(fd);

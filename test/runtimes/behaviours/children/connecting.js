// Connects to the path that it is told, and sends back all that comes.
import { FdPasser, connect } from 'fdpasser';

const passer = new FdPasser({ fh: await connect(process.env.MEET_AT) });
for await (const fd of passer) await passer.send(fd);

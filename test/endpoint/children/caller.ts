/** Connects to the path in its argument, tells who it is, and stays until the listener lets go of it. */
import { FdPasser, connect } from 'fdpasser';

const passer = new FdPasser({ fh: await connect(process.argv[2]!) });
process.send!({ pid: process.pid, uid: process.getuid!(), gid: process.getgid!() });
process.disconnect();
for await (const fd of passer) fd.close();

/**
 * Connects to the path in its argument, reports its credentials, and stays until the listener closes the connection.
 */
import { FdPasser, connect } from 'fdpasser';

const passer = new FdPasser({ fh: await connect(process.argv[2]!) });
process.send!({ pid: process.pid, uid: process.getuid!(), gid: process.getgid!() });
process.disconnect();
for await (const fd of passer) fd.close();

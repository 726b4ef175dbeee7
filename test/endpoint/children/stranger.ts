/**
 * As a user without rights, connects to its argument, in which @ begins an abstract name; reports what it received, or
 * how that failed.
 */
import { FdPasser, connect } from 'fdpasser';
import { identity } from '../../support/descriptors.js';

await connect('\0nobody listens here').catch(() => {}); // loaded while it still has the rights
if (process.getuid!() === 0) {
  process.setgroups!([]);
  process.setgid!(65534);
  process.setuid!(65534);
}
const told = await connect(process.argv[2]!.replace('@', '\0'))
  .then(async (socket) => {
    const passer = new FdPasser({ fh: socket });
    const fd = await passer.receive();
    passer.destroy();
    const file = identity(fd.fd);
    fd.close();
    return file;
  })
  .catch((error: NodeJS.ErrnoException) => error.code);
process.send!(told);
process.disconnect();

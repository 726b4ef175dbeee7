/** A server that gives up the privileges of root when it listens. */
import { createServer } from 'node:http';

createServer((_request, response) => response.end(`${process.pid} of ${process.getuid!()}`)).listen(
  Number(process.argv[2]),
  '127.0.0.1',
  () => {
    process.setgid!(65534);
    process.setuid!(65534);
  },
);

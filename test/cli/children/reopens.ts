/** A server that is closed and listens again at once, many times, as it knows nothing of fdpasser. */
import { createServer } from 'node:http';

const port = Number(process.argv[2]);
const TIMES = 42;
let times = 0;

const server = createServer((_request, response) => response.end(`${process.pid}`));
const listen = (): unknown => server.listen(port, '127.0.0.1');
// In turn: when it hears of the close before all others, when after them, and before anybody does.
server.on('close', () => times % 3 === 0 && listen());
server.on('listening', () => {
  if (times++ >= TIMES) process.stderr.write('stays open\n');
  else {
    server.close(() => times % 3 === 1 && listen());
    if (times % 3 === 2) listen();
  }
});
listen();

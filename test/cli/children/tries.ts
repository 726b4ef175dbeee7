/** A server that first finds out whether its port is free. At one SIGUSR2 it stops that, and listens at the next. */
import { createServer } from 'node:http';

const port = Number(process.argv[2]);
const say = (what: string) => (): unknown => process.stderr.write(`${process.pid} ${what}\n`);
const probe = createServer().listen(port, '127.0.0.1', say('tries'));
const server = createServer((_request, response) => response.end(`${process.pid}`));
process.on('SIGUSR2', () => {
  if (probe.listening) probe.close(say('has tried'));
  else server.listen(port, '127.0.0.1', say('listens'));
});
setInterval(() => {}, 1000);

/** A server that first finds out whether its port is free, as several packages do, and listens later. */
import { createServer } from 'node:http';

const [, , port, later] = process.argv.map(Number);
const server = createServer((_request, response) => response.end(`${process.pid}`));
const listen = (): unknown => server.listen(port, '127.0.0.1', () => process.stderr.write('listens later\n'));

const probe = createServer().listen(port, '127.0.0.1', () => {
  setTimeout(() => probe.close(() => setTimeout(listen, later)), 100);
});

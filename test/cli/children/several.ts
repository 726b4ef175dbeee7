/** Servers that do not use fdpasser, at what the argument says; `behaviour`: at the port in the file of that name. */
import { createSocket } from 'node:dgram';
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';

interface Where {
  port: number;
  /** Half a second later. */
  later?: number;
  datagrams?: number;
  /** When it listens at the port. */
  path?: string;
  /** Removes the path before. */
  removes?: boolean;
}

const given = process.argv[2]!;
const [said, ends] = given === 'behaviour' ? readFileSync(given, 'utf8').split(' and ') : [];
const where: Where = said === undefined ? JSON.parse(given) : { port: Number(said) };

function server(): Server {
  const made = createServer((request, response) => {
    if (request.url === '/close') made.close();
    response.end(request.url === '/close' ? 'closed' : `${process.pid}`);
  });
  return made;
}

const { port, later, datagrams, path, removes } = where;
server().listen(port, '127.0.0.1', () => {
  if (ends) process.exit(8);
  if (path === undefined) return;
  if (removes) rmSync(path, { force: true });
  server().listen(path);
});
if (later !== undefined)
  setTimeout(() => {
    server().listen(later, '127.0.0.1', () => process.stderr.write('listens later\n'));
  }, 500);
if (datagrams !== undefined) {
  const socket = createSocket('udp4');
  socket.on('message', (bytes, { port, address }) => socket.send(`${process.pid} ${bytes.toString()}`, port, address));
  socket.bind(datagrams, '127.0.0.1');
}

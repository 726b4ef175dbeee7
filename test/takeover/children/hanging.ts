/**
 * A server whose clients never end. Without a control path it is the naive one: it closes its servers at SIGTERM. Its
 * arguments: ports of HTTP and HTTP/2, and then the control path.
 */
import http from 'node:http';
import http2 from 'node:http2';
import { takeover } from 'fdpasser/takeover';
import { WebSocketServer } from '../../support/ws.js';

const [web, second, control] = process.argv.slice(2);

const server = http.createServer((_, response) => response.write('begun'));
const sessions = http2.createServer((_, response) => response.write('begun'));

// One sends a first fragment and never the rest, the others nothing.
new WebSocketServer({ server, perMessageDeflate: true }).on('connection', (webSocket, request) => {
  if (request.url === '/raw') webSocket.send('begun', { fin: false });
});

if (control === undefined) {
  process.once('SIGTERM', () => {
    server.close();
    sessions.close();
  });
  server.listen(Number(web), '127.0.0.1');
  sessions.listen(Number(second), '127.0.0.1', () => console.log('serves'));
} else {
  const serving = await takeover(control, { probation: 50, drainTimeout: 1500 });
  serving.listen('web', server, { port: Number(web), host: '127.0.0.1' });
  serving.listen('second', sessions, { port: Number(second), host: '127.0.0.1' });
  await serving.ready();
  console.log('serves');
}

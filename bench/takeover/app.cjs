/** The server that is replaced: it knows nothing of takeover, and closes its server when it is told to end. */
const { createServer } = require('node:http');
const { WebSocketServer } = require('ws');

const server = createServer({ keepAliveTimeout: 600_000 }, (_, response) => response.end(String(process.pid)));
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (webSocket) => {
  webSocket.on('message', (data) => webSocket.send(data));
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close(() => process.exit()));
server.listen(Number(process.env.BENCH_PORT), '127.0.0.1', () => console.log('listens'));

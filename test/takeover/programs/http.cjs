const { createServer } = require('node:http');
const { WebSocketServer } = require('ws');
const { answer, count, listens, where } = require('./work.cjs');

const server = createServer(answer);
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', count);
server.listen(where, listens);

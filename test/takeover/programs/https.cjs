const { createServer } = require('node:https');
const { WebSocketServer } = require('ws');
const { answer, count, listens, where } = require('./work.cjs');

const server = createServer({ key: process.env.KEY, cert: process.env.CERT }, answer);
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', count);
server.listen(where, listens);

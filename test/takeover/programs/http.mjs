import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { answer, count, listens, where } from './work.cjs';

const server = createServer(answer);
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', count);
server.listen(where, listens);

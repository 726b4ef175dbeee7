import { createServer } from 'node:http';
import express from 'express';
import { WebSocketServer } from 'ws';
import { count, digest, listens, slowBody, where } from './work.cjs';

const app = express();
app.get('/', (_, response) => response.send(String(process.pid)));
app.get('/download', (_, response) => slowBody().pipe(response));
app.post('/upload', (request, response) => digest(request).then((digest) => response.send(digest)));

const server = createServer(app);
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', count);
server.listen(where, listens);

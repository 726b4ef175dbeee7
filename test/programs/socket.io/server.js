import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer((_, response) => response.end(`pid ${process.pid}`));
const io = new Server(http);
io.on('connection', (socket) => socket.on('ask', (answer) => answer(process.pid)));
http.listen(Number(process.env.PORT));

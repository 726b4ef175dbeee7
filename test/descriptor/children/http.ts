/** Serves HTTP on every connection that it receives. */
import { createServer } from 'node:http';
import { FdPasser } from 'fdpasser';

process.disconnect();
const server = createServer((request, response) => response.end(`child:${request.url}`));
for await (const fd of FdPasser.inherit()) server.emit('connection', fd.toSocket());

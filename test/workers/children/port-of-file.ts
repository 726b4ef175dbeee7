/** A program that knows nothing of workers. It listens at the port that a file tells, and answers with its pid. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const server = createServer((_, response) => void response.setHeader('Connection', 'close').end(`${process.pid}`));
server.listen(Number(readFileSync(process.argv[2]!, 'utf8')), '127.0.0.1');

/** A program that knows nothing of workers. It listens at a path for all users, and answers with its pid. */
import { createServer } from 'node:http';

const server = createServer((_, response) => void response.setHeader('Connection', 'close').end(`${process.pid}`));
server.listen({ path: process.argv[2]!, writableAll: true });

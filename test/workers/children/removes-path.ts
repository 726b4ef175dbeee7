/** A program that knows nothing of workers. It removes what is at a path, listens there, and answers with its pid. */
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';

const path = process.argv[2]!;
rmSync(path, { force: true });
createServer((_, response) => void response.setHeader('Connection', 'close').end(`${process.pid}`)).listen(path);

/**
 * A worker whose server gets the connections of one listener: the one that its argument names. It answers with its pid.
 * From SIGUSR2 on it gets those of all other listeners too.
 */
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';

const server = createServer((_, response) => void response.setHeader('Connection', 'close').end(`${process.pid}`));
const own = worker().serve(server, { listener: process.argv[2]! });
process.on('SIGUSR2', () => own.serve(server));
own.ready();

/** A worker that serves the listener which the argument of its slot names. It answers with its slot. */
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';

const own = worker();
const server = createServer((_, response) => void response.setHeader('Connection', 'close').end(`${own.slot}`));
own.serve(server, { listener: process.argv[2 + own.slot]! }).ready();

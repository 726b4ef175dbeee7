/** A worker that is ready in the first slot alone. It answers with its pid. */
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';

const own = worker();
own.serve(createServer((_, response) => void response.setHeader('Connection', 'close').end(`${process.pid}`)));
if (own.slot === 0) own.ready();

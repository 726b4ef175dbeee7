/** A worker with a timer that keeps it alive. */
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';

setInterval(() => {}, 1000);
worker().serve(createServer()).ready();

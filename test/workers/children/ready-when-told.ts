/** A worker that is ready as soon as there is a file that its argument names. */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';
import { until } from '../../support/descriptors.js';

const own = worker().serve(createServer((_, response) => response.end('told')));
await until(() => existsSync(process.argv[2]!));
own.ready();

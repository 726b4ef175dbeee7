/** A worker whose second generation does not get ready: the first generation leaves a file. */
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';

const file = process.argv[2]!;
if (existsSync(file)) process.exit(4);
writeFileSync(file, '');
worker()
  .serve(createServer((_, response) => response.end('{"slot":0}')))
  .ready();

/** A server that removes its path before it listens there. The file `behaviour` in its folder says what it does. */
import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';

const behaviour = readFileSync('behaviour', 'utf8');
rmSync('web', { force: true });
createServer((_request, response) => {
  if (behaviour === 'broken') process.exit(8);
  response.end(`${behaviour} ${process.pid}`);
}).listen('web');

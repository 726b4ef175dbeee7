/** An HTTP server with `serveAndMove`. It tells its parent of a request for "/told". */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { serveAndMove } from '../../support/mover.js';

const server = createServer((request, response) => void answer(request, response));

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.url === '/told') process.send!({ requested: request.url });
  const chunks = (await request.toArray()) as Buffer[];
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const wait = Number(new URL(request.url!, 'http://here').searchParams.get('wait') ?? 0);
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  response.setHeader('pid', process.pid).end(`${request.url} ${length}`);
}

await serveAndMove(server);

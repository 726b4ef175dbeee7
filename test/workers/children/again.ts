/** A program that knows nothing of workers. It answers with its pid; at `/again` its server closes and listens anew. */
import { createServer } from 'node:http';

const where = { port: Number(process.argv[2]), host: '127.0.0.1' };
const server = createServer((request, response) => {
  const answer = (): void => void response.setHeader('Connection', 'close').end(`${process.pid}`);
  if (request.url !== '/again') return answer();
  server.close();
  server.listen(where, answer);
});
server.listen(where);

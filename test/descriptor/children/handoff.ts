/**
 * Takes over connections. It reads each to its end and reports the length and SHA-256 of the bytes, or the error. It
 * first writes `say`. With `http`, an HTTP server serves the connection instead.
 */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { FdChannel } from 'fdpasser';
import type { Report, Takeover } from '../../support/handoff.js';

process.disconnect();
const channel = FdChannel.inherit<Takeover | Report>();
const server = createServer((request, response) => {
  response.end(`${request.url} for ${request.headers.host} by the child`);
});

for await (const { value, fds } of channel) {
  const { say, http } = value as Takeover;
  const socket = fds[0]!.toSocket({ allowHalfOpen: true });
  if (http === true) {
    server.emit('connection', socket);
    continue;
  }
  const hash = createHash('sha256');
  let length = 0;
  socket.write(Buffer.alloc(say ?? 0, 'c'));
  socket.on('data', (bytes: Buffer) => {
    hash.update(bytes);
    length += bytes.length;
  });
  socket.on('end', () => socket.end());
  socket.on('error', (error: NodeJS.ErrnoException) => void channel.send({ error: error.code ?? error.message }));
  socket.on('close', (failed) => {
    if (!failed) void channel.send({ length, sha256: hash.digest('hex') });
  });
}
server.close();

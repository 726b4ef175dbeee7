/** A server that does not use fdpasser. The file `behaviour` in its folder says what it does. */
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';

const behaviour = withOne(readFileSync('behaviour', 'utf8'));
if (behaviour === 'broken') process.exit(9);
if (behaviour === 'mute') setInterval(() => {}, 1000);
else serve();

/** `BEHAVIOUR, and one is OTHER`: of all processes that start, one behaves otherwise. */
function withOne(text: string): string {
  const [behaviour, other] = text.split(', and one is ');
  if (other === undefined) return text;
  try {
    mkdirSync(text);
    return other;
  } catch {
    return behaviour!;
  }
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === '/crash') process.exit(3);
  if (request.url === '/leave') process.exit(0);
  response.end(`${behaviour} ${process.pid}`);
}

function withExpress(): RequestListener {
  const express = createRequire(import.meta.url)('express') as () => { use(handler: RequestListener): RequestListener };
  return express().use(answer);
}

function serve(): void {
  const server = createServer(process.env['WITH'] === 'express' ? withExpress() : answer);
  server.listen(Number(process.env['PORT']), '127.0.0.1', () => {
    if (behaviour === 'short-lived') process.exit(8);
    if (behaviour === 'crashing') setTimeout(() => process.exit(8), 500);
    if (behaviour === 'leaving' || behaviour === 'idle') setImmediate(() => server.close()); // it serves by then
    if (behaviour === 'stopped') setTimeout(() => process.kill(process.pid, 'SIGSTOP'), 100); // it serves by then
    if (behaviour === 'idle') setInterval(() => {}, 1000);
  });
  process.on('SIGUSR2', () => process.stdout.write(`USR2 ${process.pid}\n`));
  if (behaviour === 'closing') process.on('SIGTERM', () => server.close());
  if (behaviour === 'code') process.on('SIGTERM', () => server.close(() => process.exit(7)));
}

/**
 * A worker with sessions of socket.io over long-polling. The id of each session begins with the worker's pid. With an
 * argument it asks its clients to connect anew before it retires.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { worker } from 'fdpasser/workers';

interface Session extends NodeJS.EventEmitter {
  id: string;
  close(): void;
}

const server = createServer();
const ends = process.argv.length > 2;
/** Milliseconds. Where sessions do not end in order, a client may wait for the next ping of one that is gone. */
const pings = ends ? {} : { pingInterval: 2000, pingTimeout: 3000 };
const io = new Server(server, { transports: ['polling'], ...pings });
const { engine } = io;
engine.generateId = () => `${process.pid}-${randomUUID()}`;
engine.on('connection_error', ({ code }: { code: number }) => console.log(`error ${code}`));
io.on('connection', (socket) => {
  socket.on('echo', (number: number, answer: (number: number) => void) => answer(number));
});

const sessions = new Set<Session>();
engine.on('connection', (session: Session) => {
  sessions.add(session);
  session.once('close', () => sessions.delete(session));
});

const ended = new Set<string>();
engine.use((request: { _query: { sid?: string } }, response: { end(body: string): void }, next: () => void) => {
  if (ended.has(request._query.sid!)) response.end('ok');
  else next();
});

async function end(session: Session): Promise<void> {
  session.once('packet', () => process.nextTick(() => session.close()));
  await once(session, 'close');
  ended.add(session.id);
}

async function retire(): Promise<void> {
  while (sessions.size > 0) await Promise.all([...sessions].map(end));
}

worker()
  .serve(server, ends ? { retire } : {})
  .ready();

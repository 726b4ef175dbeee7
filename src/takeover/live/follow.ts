import type { EventEmitter } from 'node:events';
import type { Server, Socket } from 'node:net';
import { replace } from '../../descriptor/node-internals.js';

/** Hears of an event before its listeners do. It may change the arguments. */
export type Hear = (event: string, args: unknown[]) => void;

/** Events of a server with a request and its response. */
export const ANSWERED = new Set(['request', 'checkContinue', 'checkExpectation']);

/** Who follows what. */
const followers = new WeakMap<EventEmitter, Set<Hear>>();

/** Hears of each event of a server, say, whatever the program does to its listeners. Returns what ends this. */
export function follow(emitter: EventEmitter, hear: Hear): () => void {
  const following = followers.get(emitter) ?? followed(emitter);
  following.add(hear);
  return () => void following.delete(hear);
}

/** Has those who follow a server hear of a connection for which it emits nothing. */
export function tellConnected(server: Server, socket: Socket): void {
  for (const hear of followers.get(server) ?? []) hear('connection', [socket]);
}

function followed(emitter: EventEmitter): Set<Hear> {
  const following = new Set<Hear>();
  const emit = emitter.emit.bind(emitter) as (event: string, ...args: unknown[]) => boolean;
  replace(emitter, 'emit', (event: string, ...args: unknown[]): boolean => {
    for (const hear of following) hear(event, args);
    return emit(event, ...args);
  });
  followers.set(emitter, following);
  return following;
}

import type { Server, Socket } from 'node:net';
import { replace } from '../../descriptor/node-internals.js';

/** Hears of an event of a server before its listeners do. It may change the arguments. */
export type Hear = (event: string, args: unknown[]) => void;

/** Events of a server with a request and its response. */
export const ANSWERED = new Set(['request', 'checkContinue', 'checkExpectation']);

/** Who follows a server. */
const followers = new WeakMap<Server, Set<Hear>>();

/** Hears of each event of a server, whatever the program does to its listeners. Returns what ends this. */
export function follow(server: Server, hear: Hear): () => void {
  const following = followers.get(server) ?? followed(server);
  following.add(hear);
  return () => void following.delete(hear);
}

/** Has those who follow a server hear of a connection for which it emits nothing. */
export function tellConnected(server: Server, socket: Socket): void {
  for (const hear of followers.get(server) ?? []) hear('connection', [socket]);
}

function followed(server: Server): Set<Hear> {
  const following = new Set<Hear>();
  const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean;
  replace(server, 'emit', (event: string, ...args: unknown[]): boolean => {
    for (const hear of following) hear(event, args);
    return emit(event, ...args);
  });
  followers.set(server, following);
  return following;
}

import type { ChildProcess } from 'node:child_process';
import type { FdPasser } from 'fdpasser';
import { message, startChild } from './child.js';

/** What the child `peer` is told to do. */
export interface Command {
  verb: 'send' | 'receive' | 'close';
  count?: number;
}

/** Starts the child `peer` at the other end of a new passer. */
export function startPeer(passer: FdPasser): ChildProcess {
  const child = startChild('support/peer', { peer: passer.peer });
  passer.iAmParent();
  return child;
}

/** Tells it to do something; resolves with the identities of the files it sent or received. */
export function order(child: ChildProcess, verb: Command['verb'], count?: number): Promise<string[]> {
  const answer = message<string[]>(child);
  child.send({ verb, count });
  return answer;
}

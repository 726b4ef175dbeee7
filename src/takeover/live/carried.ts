import type { Socket } from 'node:net';
import type { NodeObject } from '../../descriptor/node-object.js';
import { nodeObject } from '../../descriptor/node-object.js';
import { departing, setUnread, type OwnedFd } from '../../descriptor/owned-fd.js';

/** What `JSON.stringify` writes whole. */
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** A connection that has departed here and is the successor's once that has taken it. */
export interface Carried {
  /** For `adopt` in the other process, with `state`. */
  readonly kind: string;
  readonly state: Json;
  /** With what was read here and not consumed as its `unread`. A send of it closes it. */
  readonly fd: OwnedFd;
  /** The other process has it: its object ends here. */
  readonly taken: () => void;
  /** The other process does not have it, and never will: its object works on. */
  readonly kept: () => void;
}

/** One connection of a server, of a protocol that can move. */
export interface Connection {
  readonly kind: string;
  readonly socket: Socket;
  /** Waits, while nothing is read, until what the program does with what it has read is likely to be done. */
  settled(): Promise<void>;
  /** What the other process must know, asked for in the last moment. Throws `NotNow` or `Never`. */
  state(): Json;
  /** What the program has consumed and the other process must read once more. */
  again(): Buffer | undefined;
  /** Resolves when `NotNow` may be true no more. */
  whenIdle(): Promise<void>;
  /** It has moved: the object ends. */
  leave(node: NodeObject): void;
}

/** A connection cannot move in the middle of this. */
export class NotNow extends Error {}

/** A connection cannot move. */
export class Never extends Error {}

/**
 * Has a connection depart. Rejects with what keeps it here: it is then as before. Nothing is lost if it is asked for again
 * when `whenIdle` has resolved, after `NotNow` and `ERR_FDPASSER_HTTP_BUSY`.
 */
export async function depart(connection: Connection): Promise<Carried> {
  const node = nodeObject(connection.socket)!;
  node.hold();
  let state: Json = null;
  let again: Buffer | undefined;
  await connection.settled();
  const fd = await departing(node, () => {
    state = connection.state();
    again = connection.again();
  });
  if (again !== undefined) setUnread(fd, Buffer.concat([again, fd.unread ?? Buffer.alloc(0)]));
  return {
    kind: connection.kind,
    state,
    fd,
    taken() {
      fd.close();
      connection.leave(node);
    },
    kept() {
      fd.close();
      node.giveBack();
    },
  };
}

import type { Socket } from 'node:net';
import { nodeObject, type NodeObject } from '../../descriptor/node-object.js';
import { departing, setUnread, type OwnedFd } from '../../descriptor/owned-fd.js';

/** What `JSON.stringify` writes whole. */
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** A connection that has departed here and is the successor's once that has taken it. */
export interface Carried {
  /** For `adopt` in the other process, with `state`. */
  readonly kind: string;
  readonly state: Json;
  /**
   * With what was read here and not consumed as its `unread`. A send of it closes it. `undefined` for what follows a
   * connection that was taken: bytes that were written to it here after it had departed.
   */
  readonly fd: OwnedFd | undefined;
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
  settled?(): Promise<void>;
  /** What the other process must know, asked for in the last moment. Throws `NotNow` or `Never`. */
  state(): Json;
  /** What the program has consumed and the other process must read once more. */
  again?(): Buffer | undefined;
  /** Nothing that is written to the socket leaves any more. */
  departed?(): void;
  /** Calls back, once, when `NotNow` may be true no more. */
  whenIdle?(callback: () => void): void;
  /** It cannot move. */
  stays?(): void;
  /** It has moved: the object ends. Returns what the other process must know yet, one after the other. */
  leave(node: NodeObject): Json[];
  /** It has not moved: the object works on. */
  stay(node: NodeObject): void;
}

/** A connection cannot move in the middle of this. */
export class NotNow extends Error {}

/** A connection cannot move. */
export class Never extends Error {}

/** Has a connection depart. Rejects with what keeps it here: it is then as before. */
export async function depart(connection: Connection, follows: (state: Json) => void): Promise<Carried> {
  const node = nodeObject(connection.socket)!;
  node.hold();
  await connection.settled?.();
  let state: Json = null;
  let again: Buffer | undefined;
  const fd = await departing(node, {
    last() {
      state = connection.state();
      again = connection.again?.();
    },
    departed: () => connection.departed?.(),
  });
  if (again !== undefined) setUnread(fd, Buffer.concat([again, fd.unread ?? Buffer.alloc(0)]));
  return {
    kind: connection.kind,
    state,
    fd,
    taken() {
      fd.close();
      for (const late of connection.leave(node)) follows(late);
    },
    kept() {
      fd.close();
      connection.stay(node);
    },
  };
}

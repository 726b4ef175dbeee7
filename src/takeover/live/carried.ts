import type { Socket } from 'node:net';
import { nodeObject, type NodeObject } from '../../descriptor/node-object.js';
import { departing, setUnread, type OwnedFd } from '../../descriptor/owned-fd.js';

/** What `JSON.stringify` writes whole. */
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** A connection that has departed here. For `adopt` in the other process. */
export interface Carried {
  /** No other connection of this server has it. */
  readonly key: number;
  readonly kind: string;
  readonly state: Json;
  /** With what was read here and not consumed as its `unread`. A send of it closes it. */
  readonly fd: OwnedFd;
  /**
   * The other process has it: its object ends here. Resolves with what was written to it here after it had departed:
   * the other process sends that first, and does nothing with the connection before.
   */
  readonly taken: () => Promise<Buffer>;
  /** The other process does not have it, and never will: its object goes on working. */
  readonly kept: () => void;
}

/** One connection of a server, of a protocol that can move. */
export interface Connection {
  readonly kind: string;
  readonly socket: Socket;
  /** Calls back, once, when this is a good moment to move, or none is in sight; until then it works on. */
  whenCalm?(callback: () => void): void;
  /** Waits until the program has probably handled what it has read. Nothing is read meanwhile. */
  settled?(): Promise<void>;
  /** What the other process must know; called at the last moment. Throws `NotNow` or `Never`. */
  state(): Json;
  /** Bytes that the program has consumed and the other process must read again. */
  again?(): Buffer | undefined;
  /** From now on nothing that is written to the socket leaves. */
  departed?(): void;
  /** Calls back, once, when `state` may no longer throw `NotNow`. */
  whenIdle?(callback: () => void): void;
  /** It cannot move. */
  stays?(): void;
  /** It has moved: the object ends. Resolves with what was written to it since it departed. */
  leave(node: NodeObject): Promise<Buffer>;
  /** It has not moved: the object goes on working. */
  stay(node: NodeObject): void;
}

/** A connection cannot move at this moment. */
export class NotNow extends Error {}

/** A connection can never move. */ export class Never extends Error {}

let count = 0;

/** Nothing was written since. */
export const NOTHING = Buffer.alloc(0);

/** Makes a connection depart. Rejects with the reason why it stays; it is then as before. */
export async function depart(connection: Connection): Promise<Carried> {
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
    key: ++count,
    kind: connection.kind,
    state,
    fd,
    taken() {
      fd.close();
      return connection.leave(node);
    },
    kept() {
      fd.close();
      connection.stay(node);
    },
  };
}

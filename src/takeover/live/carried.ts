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
   * The other process has it: its object ends here. Returns what was written to it here after it had departed, or
   * resolves with it: the other process sends that first, and does nothing with the connection before.
   */
  readonly taken: () => Buffer | Promise<Buffer>;
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
  /** Calls back, once, when `state` may no longer throw `NotNow`. Without this, a connection that is busy stays. */
  whenIdle?(callback: () => void): void;
  /** It cannot move. */
  stays?(): void;
  /** It has moved: the object ends. Returns what was written to it since it departed, or resolves with it. */
  leave(node: NodeObject): Buffer | Promise<Buffer>;
  /** It has not moved: the object goes on working. */
  stay(node: NodeObject): void;
}

/** A connection cannot move at this moment. */
export class NotNow extends Error {}

/** A connection can never move. */ export class Never extends Error {}

let count = 0;

/** Nothing was written since. */
export const NOTHING = Buffer.alloc(0);

/**
 * Makes a connection depart, at once or when it can. Throws, or rejects with, the reason why it stays; it is then as
 * before.
 */
export function depart(connection: Connection): Carried | Promise<Carried> {
  const node = nodeObject(connection.socket)!;
  node.hold();
  const settled = connection.settled?.();
  return settled === undefined ? departHeld(connection, node) : settled.then(() => departHeld(connection, node));
}

function departHeld(connection: Connection, node: NodeObject): Carried | Promise<Carried> {
  let state: Json = null;
  let again: Buffer | undefined;
  const left = departing(node, {
    last() {
      state = connection.state();
      again = connection.again?.();
    },
    departed: () => connection.departed?.(),
  });
  const carried = (fd: OwnedFd): Carried => {
    if (again !== undefined) setUnread(fd, Buffer.concat([again, fd.unread ?? NOTHING]));
    return carriedBy(connection, node, state, fd);
  };
  return left instanceof Promise ? left.then(carried) : carried(left);
}

function carriedBy(connection: Connection, node: NodeObject, state: Json, fd: OwnedFd): Carried {
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

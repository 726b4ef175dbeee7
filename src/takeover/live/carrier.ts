import type { Server, Socket } from 'node:net';
import type { NodeObject } from '../../descriptor/node-object.js';
import type { OwnedFd } from '../../descriptor/owned-fd.js';
import { Never, NOTHING, type Connection, type Json } from './carried.js';
import { tellConnected } from './follow.js';
import { takeIn } from './take-in.js';

/** How connections of a program's own protocol move. */
export interface Carrier<T extends Json = Json> {
  /**
   * Returns at once what the other process must know of a connection, or `undefined` when the connection stays here. It
   * is called at the last moment: nothing more is read from the socket, and all that was written is in the kernel.
   * Bytes that the program has not consumed move with it. The program forgets the connection when the socket emits
   * `'close'`.
   */
  save(socket: Socket): T | undefined;
  /**
   * Goes on with the connection in the other process. The server counts the socket, and emits no `'connection'`. The
   * first bytes to read are those that the old program had not consumed. When this throws, the connection is closed.
   */
  restore(value: T, socket: Socket): void;
}

/** A connection of a protocol that the program knows. */
export class ProgramConnection implements Connection {
  readonly kind = 'program';
  readonly socket: Socket;
  readonly #carrier: Carrier;

  constructor(socket: Socket, carrier: Carrier) {
    this.socket = socket;
    this.#carrier = carrier;
  }

  state(): Json {
    const value = this.#carrier.save(this.socket);
    if (value === undefined) throw new Never('save() returned undefined');
    return value;
  }

  leave(node: NodeObject): Buffer {
    node.close();
    return NOTHING;
  }

  stay(node: NodeObject): void {
    node.giveBack();
  }
}

/** Throws what `restore` throws; the connection is closed then. */
export function adoptForProgram(server: Server, fd: OwnedFd, carrier: Carrier, state: Json): void {
  const socket = takeIn(server, fd, (socket) => {
    tellConnected(server, socket);
    return false;
  });
  if (socket === undefined) return;
  try {
    carrier.restore(state, socket);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

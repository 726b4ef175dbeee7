import type { Server, Socket } from 'node:net';
import type { NodeObject } from '../../descriptor/node-object.js';
import { connectTo, type OwnedFd } from '../../descriptor/owned-fd.js';
import { Never, NOTHING, type Connection, type Json } from './carried.js';

/** How connections of a program's own protocol move. */
export interface Carrier<T extends Json = Json> {
  /**
   * Returns at once what the other process must know of a connection, or `undefined` when that stays here. It is asked
   * in the last moment: nothing is read from the socket any more, what was written is in the kernel, and what the
   * program has not consumed goes along. The program forgets the connection when the socket emits `'close'`.
   */
  save(socket: Socket): T | undefined;
  /**
   * Goes on with it in the other process. The server counts the socket, and emits no `'connection'`. What the program
   * had not consumed there is the first that is read.
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

  async leave(node: NodeObject): Promise<Buffer> {
    node.close();
    return NOTHING;
  }

  stay(node: NodeObject): void {
    node.giveBack();
  }
}

/** Returns the socket, unless the server has dropped it. */
export function adoptForProgram(server: Server, fd: OwnedFd, carrier: Carrier, state: Json): Socket | undefined {
  const socket = connectTo(fd, server, () => false);
  if (socket !== undefined) carrier.restore(state, socket);
  return socket;
}

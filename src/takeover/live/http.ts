import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { beginIdle, isReadByHttp, isUntouched, responseOf } from '../../descriptor/node-internals.js';
import type { NodeObject } from '../../descriptor/node-object.js';
import type { OwnedFd } from '../../descriptor/owned-fd.js';
import { Never, NOTHING, type Connection, type Json } from './carried.js';
import { onceOver } from './gone.js';
import { takeIn } from './take-in.js';

/** A connection of an `http.Server`, before its first request or between two. */
export class HttpConnection implements Connection {
  readonly kind = 'http';
  readonly socket: Socket;
  #wake = (): void => {};
  #response: ServerResponse | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  state(): Json {
    if (!isReadByHttp(this.socket)) throw new Never('it was upgraded');
    return { idle: !isUntouched(this.socket) };
  }

  whenIdle(callback: () => void): void {
    this.#wake = callback;
    const response = responseOf(this.socket);
    if (response !== undefined) this.answering(response);
  }

  /** A request was read, and this is its response. Either may be over first. */
  answering(response: ServerResponse): void {
    if (this.#response === response) return;
    this.#response = response;
    onceOver(response, () => this.#wake());
    onceOver(response.req, () => this.#wake());
  }

  leave(node: NodeObject): Buffer {
    node.close();
    return NOTHING;
  }

  stay(node: NodeObject): void {
    node.giveBack();
  }
}

export function adoptHttp(server: Server, fd: OwnedFd, state: Json): void {
  const socket = takeIn(server, fd, () => true);
  if (socket !== undefined && (state as { idle?: Json } | null)?.idle === true) beginIdle(socket, server);
}

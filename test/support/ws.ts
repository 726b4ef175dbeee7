import type { EventEmitter } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** The types of what the tests use of the package ws. */
export interface WebSocket extends EventEmitter<{
  upgrade: [response: IncomingMessage];
  open: [];
  message: [data: Buffer, isBinary: boolean];
  ping: [data: Buffer];
  pong: [data: Buffer];
  close: [code: number, reason: Buffer];
  error: [error: Error];
}> {
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Buffer | string, options?: { binary?: boolean; fin?: boolean; compress?: boolean }): void;
  ping(data?: string): void;
  pause(): void;
  resume(): void;
  close(code?: number): void;
  terminate(): void;
}

interface WebSocketServer extends EventEmitter<{ connection: [webSocket: WebSocket, request: IncomingMessage] }> {
  readonly clients: Set<WebSocket & { readonly _socket: Socket }>;
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, begin: (webSocket: WebSocket) => void): void;
  close(): void;
}

const ws = createRequire(import.meta.url)('ws') as {
  WebSocket: new (
    url: string,
    options?: { perMessageDeflate?: boolean | object; rejectUnauthorized?: boolean },
  ) => WebSocket;
  WebSocketServer: new (options: {
    server?: Server;
    noServer?: boolean;
    perMessageDeflate?: boolean | object;
    verifyClient?: (info: unknown, callback: (accepts: boolean) => void) => void;
  }) => WebSocketServer;
};

export const { WebSocket, WebSocketServer } = ws;

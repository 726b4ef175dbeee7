import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { until } from './descriptors.js';

/** A frame of RFC 6455, by default the last of its message. */
export function frame(opcode: number, payload: Buffer | string, { final = true, masked = true } = {}): Buffer {
  const bytes = Buffer.from(payload);
  const { length } = bytes;
  const long = Buffer.alloc(length > 65_535 ? 8 : length > 125 ? 2 : 0);
  if (long.length === 8) long.writeBigUInt64BE(BigInt(length));
  else if (long.length === 2) long.writeUInt16BE(length);
  const short = long.length === 8 ? 127 : long.length === 2 ? 126 : length;
  const mask = Buffer.from([7, 0, 255, 1]);
  const head = Buffer.of((final ? 128 : 0) | opcode, (masked ? 128 : 0) | short);
  if (!masked) return Buffer.concat([head, long, bytes]);
  return Buffer.concat([head, long, mask, bytes.map((byte, i) => byte ^ mask[i % 4]!)]);
}

/** A client that writes exactly the given bytes. */
export class RawWebSocket {
  readonly socket: Socket;
  /** Payloads that came, with their opcodes. */
  readonly frames: { opcode: number; payload: string }[] = [];
  response = '';
  #rest = Buffer.alloc(0);

  constructor(port: number, headers: Record<string, string> = {}) {
    this.socket = connect(port, '127.0.0.1');
    const lines = Object.entries({
      Host: 'here',
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Version': '13',
      ...headers,
    }).map(([name, value]) => `${name}: ${value}\r\n`);
    this.socket.write(`GET /raw HTTP/1.1\r\n${lines.join('')}\r\n`);
    this.socket.on('data', (bytes: Buffer) => this.#read(bytes));
  }

  async open(): Promise<this> {
    await until(() => this.response !== '');
    return this;
  }

  /** The next messages that come, as text. */
  async messages(count: number): Promise<string[]> {
    await until(() => this.frames.length >= count);
    return this.frames.splice(0, count).map(({ payload }) => payload);
  }

  /** The code with which the server closes it, and the end of the connection. */
  async closed(): Promise<number> {
    await until(() => this.frames.some(({ opcode }) => opcode === 8));
    const { payload } = this.frames.find(({ opcode }) => opcode === 8)!;
    const code = Buffer.from(payload, 'latin1').readUInt16BE();
    if (!this.socket.readableEnded) this.socket.write(frame(8, Buffer.from(payload.slice(0, 2), 'latin1')));
    if (!this.socket.readableEnded) await once(this.socket, 'end');
    this.socket.destroy();
    return code;
  }

  #read(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    if (this.response === '') {
      const end = this.#rest.indexOf('\r\n\r\n') + 4;
      if (end < 4) return;
      this.response = this.#rest.toString('latin1', 0, end);
      this.#rest = this.#rest.subarray(end);
    }
    for (;;) {
      if (this.#rest.length < 2) return;
      const short = this.#rest[1]! & 127;
      const head = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (this.#rest.length < head) return;
      const length =
        short === 126 ? this.#rest.readUInt16BE(2) : short === 127 ? Number(this.#rest.readBigUInt64BE(2)) : short;
      if (this.#rest.length < head + length) return;
      assert.equal(this.#rest[1]! & 128, 0);
      this.frames.push({ opcode: this.#rest[0]! & 15, payload: this.#rest.toString('latin1', head, head + length) });
      this.#rest = this.#rest.subarray(head + length);
    }
  }
}

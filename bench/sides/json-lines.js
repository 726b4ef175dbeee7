import { EventEmitter } from 'node:events';
import { Socket } from 'node:net';

/** What programs write that need no descriptors: a net.Socket with one line of JSON for each value. */
export class JsonLines extends EventEmitter {
  #socket;
  #rest = '';

  constructor(fd) {
    super();
    this.#socket = new Socket({ fd }).setEncoding('utf8').on('data', (text) => this.#read(text));
  }

  send(value, done) {
    this.#socket.write(`${JSON.stringify(value)}\n`, done);
  }

  #read(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) this.emit('message', JSON.parse(line));
  }
}

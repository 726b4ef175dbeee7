import type { Socket } from 'node:net';
import { replace } from '../../descriptor/node-internals.js';
import type { NodeObject } from '../../descriptor/node-object.js';
import { Never, NotNow, type Connection, type Json } from './carried.js';
import { closeFrame, Frames } from './frames.js';
import { isAnswer, isSwitch, isStateless, type Upgrade } from './upgrade.js';

/** Code of a close frame: "service restart". */
const RESTART = 1012;

/** What the program reads beside that code of a WebSocket that has moved. */
const MOVED = 'moved to another process';

/** How long what was read may wait for an answer before it is taken to need none. Milliseconds. */
const SETTLE = 20;

/** How long a client may leave a frame half sent before it moves like that. Milliseconds. */
const PATIENCE = 1000;

/** The head of a response is no longer than that. */
const MOST_HEAD = 1 << 16;

/** One message to the other process has so many bytes of what was written late. */
const MOST_LATE = 1 << 15;

type Emit = (event: string, ...args: unknown[]) => boolean;
type Callback = (error?: Error | null) => void;

/** As Writable calls that of bytes. */
type Encoding = BufferEncoding | 'buffer';

interface Chunk {
  readonly chunk: string | Buffer;
  readonly encoding: Encoding;
}

/** What a socket does with what is written to it. */
interface Writing {
  _write(chunk: string | Buffer, encoding: Encoding, callback: Callback): void;
  _writev(chunks: Chunk[], callback: Callback): void;
}

/** How far the program is: `'plain'`: it refused. `'dismissed'`: nothing that it writes reaches the client any more. */
type Stage = 'asked' | 'open' | 'plain' | 'dismissed';

/** Somebody waits for a moment. */
interface Waiting {
  readonly isOver: () => boolean;
  readonly callback: () => void;
  readonly timer: NodeJS.Timeout | undefined;
}

let count = 0;

/**
 * A WebSocket of whatever program, known by what goes over its connection (RFC 6455).
 *
 * In the process that it moves to, the program is asked the request that it began with once more; the answer, which the
 * client has had long ago, is left out.
 */
export class ServedWebSocket implements Connection {
  readonly kind = 'websocket';
  readonly socket: Socket;
  /** Under which what follows it to another process belongs to it. */
  readonly key = `${process.pid}.${++count}`;
  readonly #request: Upgrade;
  /** What the program must answer, where the client has the answer already. */
  readonly #expected: string | undefined;
  readonly #in = new Frames(true);
  readonly #out = new Frames(false);
  #stage: Stage = 'asked';
  #head = '';
  /** What was read may be text, which is not to be counted. */
  #readable = false;
  #dismissing = false;
  #readAt = 0;
  #unanswered = 0;
  #impatient = false;
  #waiting: Waiting | undefined;
  /** What the program has written since it departed. */
  #late: Buffer[] = [];
  /** What the program of another process has written to it, and this one has not sent on yet. */
  #forwarded: Buffer[] = [];
  #parts: Buffer[] = [];
  readonly #write: Writing['_write'];
  /** What the program has written is still on its way. A TLS socket aborts the process when it is given more then. */
  #writes = false;
  readonly #emit: Emit;
  /** While it has departed: have what is written leave again. */
  #restores: (() => void)[] = [];

  constructor(socket: Socket, request: Upgrade, expected?: string) {
    this.socket = socket;
    this.#request = request;
    this.#expected = expected;
    this.#emit = socket.emit.bind(socket) as Emit;
    this.#write = this.#watchWriting();
    socket.once('close', () => this.#wake());
  }

  /** What is read from now on are frames. */
  upgraded(): void {
    this.#readable = true;
    replace(this.socket, 'emit', (event: string, ...args: unknown[]) => {
      return event === 'data' ? this.#read(args[0]) : this.#emit(event, ...args);
    });
    this.#changed();
  }

  /**
   * Asks the client to connect anew, when no message is being written; `atOnce`: between two frames. The program sees
   * that as an end with this code.
   */
  dismiss(atOnce = false): void {
    this.#dismissing = true;
    this.#changed(atOnce);
  }

  /** Sends on what the program of another process had written, when the last part of it is there. */
  forward(bytes: Buffer, more: boolean): void {
    this.#parts.push(bytes);
    if (more) return;
    this.#forwarded.push(Buffer.concat(this.#parts.splice(0)));
    this.#changed();
  }

  // ---- how it leaves

  async settled(): Promise<void> {
    for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve)); // the program's queues
    const left = this.#readAt + SETTLE - performance.now();
    const isAnswered = (): boolean => this.#unanswered === 0;
    if (!isAnswered() && left > 0) await new Promise<void>((resolve) => this.#wait(isAnswered, resolve, left));
  }

  state(): Json {
    const obstacle = this.#obstacle();
    if (obstacle !== undefined) throw obstacle;
    const { method, url, rawHeaders } = this.#request;
    return { key: this.key, request: { method, url, rawHeaders }, response: this.#expected ?? this.#head };
  }

  again(): Buffer | undefined {
    return this.#in.held;
  }

  whenIdle(callback: () => void): void {
    const isIdle = (): boolean => !(this.#obstacle() instanceof NotNow);
    if (isIdle()) setImmediate(callback);
    else if (this.#in.between) this.#wait(isIdle, callback);
    else {
      const late = (): void => {
        this.#impatient = !this.#in.between;
        callback();
      };
      this.#wait(isIdle, late, PATIENCE);
    }
  }

  stays(): void {
    this.dismiss();
  }

  departed(): void {
    const keep = (chunks: Chunk[], callback: Callback): void => {
      this.#late.push(...chunks.map(bytesOf));
      callback();
    };
    this.#restores = [
      replace(this.#writing, '_write', (...[chunk, encoding, callback]: Parameters<Writing['_write']>) => {
        keep([{ chunk, encoding }], callback);
      }),
      replace(this.#writing, '_writev', keep),
    ];
  }

  leave(node: NodeObject): Json[] {
    const late = Buffer.concat([...this.#forwarded.splice(0), this.#wholeMessages()]);
    // As its client would end it. It is closed when the program has heard that; in the middle of a frame it cannot be
    // told.
    if (this.#in.between) this.#emit('data', closeFrame(RESTART, MOVED, 'client'));
    setImmediate(() => setImmediate(() => node.close()));
    return parts(late, MOST_LATE).map((bytes, i, { length }) => {
      return { key: this.key, bytes: bytes.toString('base64'), more: i < length - 1 };
    });
  }

  stay(node: NodeObject): void {
    for (const restore of this.#restores.splice(0)) restore();
    for (const bytes of this.#late.splice(0))
      this.#pass([{ chunk: bytes, encoding: 'buffer' }], () => this.#send(bytes));
    this.#changed();
    node.giveBack();
  }

  /** What was written since it departed, up to the end of a message. */
  #wholeMessages(): Buffer {
    let whole = 0;
    for (const [i, bytes] of this.#late.entries()) {
      this.#out.push(bytes);
      if (this.#rests) whole = i + 1;
    }
    return Buffer.concat(this.#late.slice(0, whole));
  }

  #obstacle(): Error | undefined {
    if (this.#stage === 'plain' || this.#stage === 'dismissed' || this.#dismissing) return new Never('it ends here');
    if (this.#in.closing || this.#out.closing) return new Never('it is being closed');
    if (!this.#readable || (this.#stage === 'asked' && this.#expected === undefined)) return new NotNow('it begins');
    if (!isStateless(this.#expected ?? this.#head)) return new Never('its compression has a state');
    if (!this.#rests) return new NotNow('a message is being written');
    if (!this.#in.between && !this.#impatient) return new NotNow('a frame is being read');
    return this.#in.held === undefined ? new NotNow('a long message is being read') : undefined;
  }

  // ---- what is read

  #read(chunk: unknown): boolean {
    if (!Buffer.isBuffer(chunk)) {
      this.#stage = 'plain'; // setEncoding(): what these bytes were is not known any more
      return this.#emit('data', chunk);
    }
    const end = this.#waiting !== undefined && this.socket.readableFlowing === true ? this.#in.endIn(chunk) : 0;
    if (end === 0 || end === chunk.length) return this.#give(chunk);
    // It is waited for the end of this frame: what comes behind it may be another process's.
    this.#give(chunk.subarray(0, end));
    this.socket.unshift(chunk.subarray(end));
    return true;
  }

  #give(bytes: Buffer): boolean {
    const { asked } = this.#in;
    this.#in.push(bytes);
    if (this.#in.asked > asked) {
      this.#unanswered += this.#in.asked - asked;
      this.#readAt = performance.now();
    }
    if (this.#in.between) this.#impatient = false;
    const heard = this.#emit('data', bytes);
    this.#changed();
    return heard;
  }

  // ---- what is written

  get #writing(): Writing {
    return this.socket as unknown as Writing;
  }

  /** Between two messages. */
  get #rests(): boolean {
    return this.#out.between && !this.#out.fragmented;
  }

  /** Returns what writes past this. */
  #watchWriting(): Writing['_write'] {
    const write = this.#writing._write.bind(this.socket);
    const writev = this.#writing._writev.bind(this.socket);
    replace(this.#writing, '_write', (...[chunk, encoding, callback]: Parameters<Writing['_write']>) => {
      this.#pass([{ chunk, encoding }], () => write(chunk, encoding, this.#whenWritten(callback)), callback);
    });
    replace(this.#writing, '_writev', (chunks: Chunk[], callback: Callback) => {
      this.#pass(chunks, () => writev(chunks, this.#whenWritten(callback)), callback);
    });
    return write;
  }

  /** What is to be sent now goes before the program writes more. */
  #whenWritten(callback: Callback): Callback {
    this.#writes = true;
    return (error) => {
      this.#writes = false;
      this.#changed();
      callback(error);
    };
  }

  /** `through` sends the chunks to the client; `callback` is for when they do not go there. */
  #pass(chunks: Chunk[], through: () => void, callback: Callback = () => {}): void {
    if (this.#stage === 'open') {
      for (const chunk of chunks) this.#count(chunk);
      through();
    } else if (this.#stage === 'plain') through();
    else if (this.#stage === 'dismissed') callback();
    else if (this.#expected === undefined) {
      this.#answer(Buffer.concat(chunks.map(bytesOf)));
      through();
    } else {
      const frames = this.#answer(Buffer.concat(chunks.map(bytesOf)));
      if (frames === undefined || frames.length === 0) callback();
      else this.#send(frames, callback);
    }
    this.#changed();
  }

  #count({ chunk, encoding }: Chunk): void {
    const { asked } = this.#out;
    this.#out.push(bytesOf({ chunk, encoding }));
    this.#unanswered = Math.max(0, this.#unanswered - (this.#out.asked - asked));
  }

  /** A part of the program's answer. Returns what comes behind it. */
  #answer(bytes: Buffer): Buffer | undefined {
    const text = this.#head + bytes.toString('latin1');
    const end = text.indexOf('\r\n\r\n') + 4;
    this.#head = end < 4 ? text : text.slice(0, end);
    if (end < 4 && text.length < MOST_HEAD) return undefined;
    if (this.#expected === undefined) this.#stage = isSwitch(this.#head) ? 'open' : 'plain';
    else if (isAnswer(this.#head, this.#expected)) this.#stage = 'open';
    else return this.#refuse();
    const frames = Buffer.from(text.slice(end), 'latin1');
    if (this.#stage === 'open' && frames.length > 0) this.#count({ chunk: frames, encoding: 'buffer' });
    return frames;
  }

  /** The program does not go on with what a client has. */
  #refuse(): undefined {
    this.#dismissing = true;
    this.#stage = 'open';
    if (!isSwitch(this.#head)) process.nextTick(() => this.socket.destroySoon());
  }

  /** To the client, between what the program writes. */
  #send(bytes: Buffer, callback: Callback = () => {}): void {
    this.#write(bytes, 'buffer', callback);
  }

  // ---- what waits for a moment

  /** Something was read or written. While it has departed nothing is sent: it may be another process's. */
  #changed(atOnce = false): void {
    if (this.#isSendable) {
      if (this.#rests) for (const bytes of this.#forwarded.splice(0)) this.#send(bytes);
      if (this.#dismissing && (this.#rests || atOnce)) {
        this.#stage = 'dismissed';
        this.#send(closeFrame(RESTART, 'service restart', 'server'));
      }
    }
    if (this.#waiting?.isOver() === true) this.#wake();
  }

  /** Whether the client would understand a frame that is this class's own. */
  get #isSendable(): boolean {
    if (this.#restores.length > 0 || this.#writes || this.socket.destroyed) return false;
    const connected = this.#stage === 'open' || (this.#stage === 'asked' && this.#expected !== undefined);
    return connected && this.#out.between && !this.#out.closing;
  }

  /** Calls back when something is so, or after so many milliseconds. */
  #wait(isOver: () => boolean, callback: () => void, milliseconds?: number): void {
    const timer = milliseconds === undefined ? undefined : setTimeout(() => this.#wake(), milliseconds);
    this.#waiting = { isOver, callback, timer };
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    clearTimeout(waiting?.timer);
    waiting?.callback();
  }
}

function bytesOf({ chunk, encoding }: Chunk): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding as BufferEncoding) : chunk;
}

function parts(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

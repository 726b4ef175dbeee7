import type { Socket } from 'node:net';
import { replace } from '../../descriptor/node-internals.js';
import type { NodeObject } from '../../descriptor/node-object.js';
import { Never, NOTHING, NotNow, type Connection, type Json } from './carried.js';
import { closeFrame, Frames } from './frames.js';
import { onceGone } from './gone.js';
import { Pace, Unanswered } from './pace.js';
import { isAnswer, isSwitch, isStateless, type Upgrade } from './upgrade.js';

/** Code of a close frame: "service restart". */
const RESTART = 1012;

/** The reason that the program reads with that code when its WebSocket has moved. */
const MOVED = 'moved to another process';

/** How long a program may take to end its side when it was told that a WebSocket has moved. Milliseconds. */
const FAREWELL = 20;

/** How long it is waited for the end of a frame, or for a moment in which all is answered. Milliseconds. */
const PATIENCE = 1000;

/** With so many bytes written while it is under way, its program has to wait. */
const MOST_LATE = 1 << 16;

/** The longest head of a response. */
const MOST_HEAD = 1 << 16;

type Emit = (event: string, ...args: unknown[]) => boolean;
type Callback = (error?: Error | null) => void;

/** Writable calls the encoding of bytes 'buffer'. */
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

/** The stage of the program. `'plain'`: it refused. `'dismissed'`: what it writes no longer reaches the client. */
type Stage = 'asked' | 'open' | 'plain' | 'dismissed';

/** A caller that waits for a condition. */
interface Waiting {
  readonly isOver: () => boolean;
  readonly callback: () => void;
  readonly timer: NodeJS.Timeout | undefined;
  /** For the end of a frame: what is read behind it may be another process's. */
  readonly splits: boolean;
}

/**
 * A WebSocket of any program, recognised by the bytes on its connection (RFC 6455). In the process to which it moves,
 * the program gets the request that it began with once more. The program's answer is not sent, because the client
 * already has one.
 */
export class ServedWebSocket implements Connection {
  readonly kind = 'websocket';
  readonly socket: Socket;
  readonly #request: Upgrade;
  /** The answer that the program must give, if the client already has it. */
  readonly #expected: string | undefined;
  readonly #in = new Frames(true);
  readonly #out = new Frames(false);
  #stage: Stage = 'asked';
  #head = '';
  /** Whether what is read is counted; before, it may be text. */
  #readable = false;
  #dismissing = false;
  readonly #unanswered: Unanswered;
  #impatient = false;
  #waiting: Waiting | undefined;
  /** What the program has written since the WebSocket departed. */
  #late: Buffer[] = [];
  readonly #lateFrames = new Frames(false);
  /** Calls the program back, whose writing waits until it is known which process has the WebSocket. */
  #writeOn: Callback = () => {};
  #hasLeft = false;
  readonly #write: Writing['_write'];
  /**
   * Whether what the program has written is still on its way. A TLS socket aborts the process when it gets more then.
   */
  #writes = false;
  readonly #emit: Emit;
  /** While it has departed: functions that let written bytes leave again. */
  #restores: (() => void)[] = [];

  constructor(socket: Socket, request: Upgrade, pace: Pace, expected?: string) {
    this.socket = socket;
    this.#request = request;
    this.#unanswered = new Unanswered(pace);
    this.#expected = expected;
    this.#emit = socket.emit.bind(socket) as Emit;
    this.#write = this.#watchWriting();
    onceGone(socket, () => this.#wake());
  }

  /** From now on frames are read. */
  upgraded(): void {
    this.#readable = true;
    replace(this.socket, 'emit', (event: string, ...args: unknown[]) => {
      return event === 'data' ? this.#read(args[0]) : this.#emit(event, ...args);
    });
    this.#changed();
  }

  /**
   * Asks the client to connect again, when no message is being written; `atOnce`: between two frames. The program sees
   * an end with this code.
   */
  dismiss(atOnce = false): void {
    this.#dismissing = true;
    this.#changed(atOnce);
  }

  /** Sends what the program of the other process has written last, before this one is asked. */
  forward(bytes: Buffer): void {
    if (bytes.length > 0) this.#send(bytes);
  }

  // ---- how it leaves

  whenCalm(callback: () => void): void {
    const deadline = performance.now() + PATIENCE;
    const wait = (): void => {
      const { left } = this.#unanswered;
      const time = Math.min(left, deadline - performance.now());
      if (time > 0) this.#wait(() => this.#unanswered.left === 0, wait, time);
      else callback();
    };
    wait();
  }

  async settled(): Promise<void> {
    const isDue = this.#unanswered.left > 0;
    await turns(); // the program's queues
    if (!isDue) return;
    for (let left = this.#unanswered.left; left > 0; left = this.#unanswered.left)
      await new Promise<void>((resolve) => this.#wait(() => this.#unanswered.none, resolve, left));
    if (!this.#unanswered.none) await turns(); // the program's timers that were due before, if it is behind with them
  }

  state(): Json {
    const obstacle = this.#obstacle();
    if (obstacle !== undefined) throw obstacle;
    const { method, url, rawHeaders } = this.#request;
    return { request: { method, url, rawHeaders }, response: this.#expected ?? this.#head };
  }

  again(): Buffer | undefined {
    return this.#in.held;
  }

  whenIdle(callback: () => void): void {
    const isIdle = (): boolean => !(this.#obstacle() instanceof NotNow);
    if (isIdle()) setImmediate(callback);
    else if (this.#in.between) this.#wait(isIdle, callback, undefined, true);
    else {
      const late = (): void => {
        this.#impatient = !this.#in.between;
        callback();
      };
      this.#wait(isIdle, late, PATIENCE, true);
    }
  }

  stays(): void {
    this.dismiss();
  }

  departed(): void {
    let length = 0;
    const keep = (chunks: Chunk[], callback: Callback): void => {
      for (const written of chunks.map(bytesOf)) {
        const bytes = this.#stage === 'asked' ? this.#answer(written) : written; // the client has an answer
        this.#late.push(bytes);
        this.#lateFrames.push(bytes);
        length += bytes.length;
      }
      if (length < MOST_LATE || this.#hasLeft) callback();
      else this.#writeOn = callback; // like a client that does not read
      this.#changed();
    };
    this.#restores = [
      replace(this.#writing, '_write', (...[chunk, encoding, callback]: Parameters<Writing['_write']>) => {
        keep([{ chunk, encoding }], callback);
      }),
      replace(this.#writing, '_writev', keep),
    ];
  }

  leave(node: NodeObject): Buffer | Promise<Buffer> {
    this.#hasLeft = true;
    this.#letWrite();
    const farewell = this.#farewell();
    const end = (): void => void setImmediate(() => setImmediate(() => node.close()));
    if (farewell instanceof Promise) void farewell.finally(end);
    else end(); // when the program has heard of it
    return farewell;
  }

  /** What the program has written, up to the end of a message, until it knows that this one has moved. */
  #farewell(): Buffer | Promise<Buffer> {
    const frames = this.#lateFrames;
    if (frames.closing) return Buffer.concat(this.#late); // it has ended it by itself
    const late = (): Buffer => Buffer.concat(this.#late).subarray(0, frames.whole);
    if (!this.#in.between) return late(); // in the middle of a frame it cannot be told
    this.#emit('data', closeFrame(RESTART, MOVED, 'client')); // as its client would end it
    if (frames.closing) return late();
    return new Promise((resolve) =>
      this.#wait(
        () => frames.closing,
        () => resolve(late()),
        FAREWELL,
      ),
    );
  }

  stay(node: NodeObject): void {
    for (const restore of this.#restores.splice(0)) restore();
    for (const bytes of this.#late.splice(0))
      this.#pass([{ chunk: bytes, encoding: 'buffer' }], () => this.#send(bytes));
    this.#changed();
    node.giveBack();
    this.#letWrite();
  }

  #letWrite(): void {
    const writeOn = this.#writeOn;
    this.#writeOn = () => {};
    writeOn();
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
      this.#stage = 'plain'; // setEncoding(): the original bytes are no longer known
      return this.#emit('data', chunk);
    }
    const end = this.#waiting?.splits === true && this.socket.readableFlowing === true ? this.#in.endIn(chunk) : 0;
    if (end === 0 || end === chunk.length) return this.#give(chunk);
    // Somebody waits for the end of this frame: what comes behind it may belong to another process.
    this.#give(chunk.subarray(0, end));
    this.socket.unshift(chunk.subarray(end));
    return true;
  }

  #give(bytes: Buffer): boolean {
    const { asked } = this.#in;
    this.#in.push(bytes);
    this.#unanswered.asked(this.#in.asked - asked);
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

  /** Watches what is written. Returns a function that writes without being watched. */
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

  /** Wraps the callback of a write: what waits to be sent goes before the program writes more. */
  #whenWritten(callback: Callback): Callback {
    this.#writes = true;
    return (error) => {
      this.#writes = false;
      this.#changed();
      callback(error);
    };
  }

  /** `through` sends the chunks to the client; `callback` is called when they do not go there. */
  #pass(chunks: Chunk[], through: () => void, callback: Callback = () => {}): void {
    if (this.#stage === 'open') {
      for (const chunk of chunks) this.#count(chunk);
      through();
    } else if (this.#stage === 'plain') through();
    else if (this.#stage === 'dismissed') callback();
    else {
      const frames = this.#answer(Buffer.concat(chunks.map(bytesOf)));
      this.#count({ chunk: frames, encoding: 'buffer' });
      if (this.#expected === undefined) through();
      else if (frames.length === 0) callback();
      else this.#send(frames, callback);
    }
    this.#changed();
  }

  #count({ chunk, encoding }: Chunk): void {
    const { answers } = this.#out;
    this.#out.push(bytesOf({ chunk, encoding }));
    this.#unanswered.answered(this.#out.answers - answers);
  }

  /** Takes a part of the program's answer. Returns the frames behind it. */
  #answer(bytes: Buffer): Buffer {
    const text = this.#head + bytes.toString('latin1');
    const end = text.indexOf('\r\n\r\n') + 4;
    this.#head = end < 4 ? text : text.slice(0, end);
    if (end < 4 && text.length < MOST_HEAD) return NOTHING;
    if (this.#expected === undefined) this.#stage = isSwitch(this.#head) ? 'open' : 'plain';
    else if (isAnswer(this.#head, this.#expected)) this.#stage = 'open';
    else this.#refuse();
    return this.#stage === 'open' ? Buffer.from(text.slice(end), 'latin1') : NOTHING;
  }

  /** The program does not go on with the client's WebSocket. What it writes counts as its answer, and is not sent. */
  #refuse(): void {
    this.#dismissing = true;
    if (!isSwitch(this.#head)) process.nextTick(() => this.socket.destroySoon());
  }

  /** Sends bytes to the client between the program's own. */
  #send(bytes: Buffer, callback: Callback = () => {}): void {
    this.#write(bytes, 'buffer', callback);
  }

  // ---- what waits for a moment

  /**
   * Something was read or written. While the WebSocket has departed nothing is sent: it may belong to another process.
   */
  #changed(atOnce = false): void {
    if (this.#isSendable) {
      if (this.#dismissing && (this.#rests || atOnce)) {
        this.#stage = 'dismissed';
        this.#send(closeFrame(RESTART, 'service restart', 'server'));
      }
    }
    if (this.#waiting?.isOver() === true) this.#wake();
  }

  /** Whether a frame made by this class would be understood by the client. */
  get #isSendable(): boolean {
    if (this.#restores.length > 0 || this.#writes || this.socket.destroyed) return false;
    const connected = this.#stage === 'open' || (this.#stage === 'asked' && this.#expected !== undefined);
    return connected && this.#out.between && !this.#out.closing;
  }

  /** Calls back when `isOver` is true, or after `milliseconds`. */
  #wait(isOver: () => boolean, callback: () => void, milliseconds?: number, splits = false): void {
    clearTimeout(this.#waiting?.timer);
    const timer = milliseconds === undefined ? undefined : setTimeout(() => this.#wake(), milliseconds);
    this.#waiting = { isOver, callback, timer, splits };
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

/** Lets the event loop call what is due. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}

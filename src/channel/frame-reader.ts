import {
  CLOSING,
  CONFIRM,
  FRAME_BYTES,
  FRAME_FDS,
  HEADER_BYTES,
  HELLO_BYTES,
  DECLINED,
  MAGIC,
  MORE,
  NUMBER_BYTES,
  PART,
  REPLY,
  REQUEST,
  TAKEN,
  UNREAD,
  UNREAD_BYTES,
  VERSION,
  shared,
  windowSize,
  type Hello,
  type Unread,
} from './frames.js';

/**
 * The body of a message: its value as bytes, how many descriptors it has, and the bytes that were read from these
 * before they were sent.
 */
export interface Body {
  value: Buffer;
  /** Whether it came in several parts, and so was put together in memory of its own. */
  own: boolean;
  fds: number;
  unread: Unread[];
  /** What it counts against the window, in bytes. */
  size: number;
}

export type Incoming =
  | { type: 'hello'; hello: Hello }
  | { type: 'message'; body: Body }
  | { type: 'request' | 'reply'; number: number; body: Body }
  | { type: 'declined'; number: number }
  | { type: 'taken'; count: number }
  | { type: 'closing' }
  | { type: 'confirm' };

/** The peer has broken the protocol, or uses another one. */
export class FramingError extends Error {}

const EMPTY = Buffer.alloc(0);
const ASKING = REQUEST | REPLY;
const FLAGS = MORE | UNREAD | ASKING;
/** The names of the frames that are no part of a message. */
const WORDS: Readonly<Record<number, string>> = {
  [TAKEN]: 'TAKEN',
  [DECLINED]: 'DECLINED',
  [CLOSING]: 'CLOSING',
  [CONFIRM]: 'CONFIRM',
};

/**
 * Bytes that come in pieces. Its memory doubles when it is full, so many short pieces cost no more than a few long
 * ones.
 */
class Pile {
  #room: Buffer = EMPTY;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get bytes(): Buffer {
    return this.#room.subarray(0, this.#length);
  }

  append(bytes: Buffer): void {
    const length = this.#length + bytes.length;
    if (length > this.#room.length) {
      const larger = Buffer.allocUnsafe(2 * length);
      this.#room.copy(larger, 0, 0, this.#length);
      this.#room = larger;
    }
    bytes.copy(this.#room, this.#length);
    this.#length = length;
  }
}

/** Puts frames together from bytes that may be cut anywhere. It keeps at most about two frames and the largest body. */
export class FrameReader {
  readonly #limits: { maxMessageBytes: number; maxFds: number };
  #greeted = false;
  /** The beginning of a frame that is not complete yet. */
  #rest: Pile | undefined;
  /** The body of a message that is not complete yet. */
  #body: Pile | undefined;
  #fds = 0;
  /** The flags of the last part that came. */
  #flags = 0;

  constructor(limits: { maxMessageBytes: number; maxFds: number }) {
    this.#limits = limits;
  }

  /** Whether the bytes so far end in the middle of a frame or message. */
  get unfinished(): boolean {
    return this.#rest !== undefined || this.#body !== undefined;
  }

  /** How many bytes are missing from the frame that has begun to come. */
  get missing(): number {
    const rest = this.#rest?.bytes ?? EMPTY;
    return rest.length < HEADER_BYTES ? 0 : HEADER_BYTES + rest.readUInt32LE(4) - rest.length;
  }

  /** The size and descriptors of the message that is not complete yet, as they count against the window. */
  get pending(): { size: number; fds: number; isReply: boolean } {
    const size = this.#body === undefined ? 0 : windowSize(this.#body.length);
    return { size, fds: this.#fds, isReply: (this.#flags & REPLY) !== 0 };
  }

  /**
   * Takes bytes, and returns what is complete now. Keeps no reference to the bytes, but what it returns may be a view
   * of them. Throws a `FramingError` at the first mistake. Then `found` has what was complete before it.
   */
  push(bytes: Buffer, found: Incoming[] = []): Incoming[] {
    this.#rest?.append(bytes);
    const all = this.#rest?.bytes ?? bytes;
    let at = 0;
    for (;;) {
      const used = this.#greeted ? this.#frame(all, at, found) : this.#hello(all, found);
      if (used === 0) break;
      at += used;
    }
    // If the bytes completed nothing, they stay where they are.
    if (at > 0 || this.#rest === undefined) {
      this.#rest = undefined;
      if (at < all.length) (this.#rest = new Pile()).append(all.subarray(at));
    }
    return found;
  }

  #hello(bytes: Buffer, found: Incoming[]): number {
    const seen = Math.min(bytes.length, MAGIC.length);
    if (!bytes.subarray(0, seen).equals(MAGIC.subarray(0, seen)))
      throw new FramingError(`it began with ${JSON.stringify(bytes.toString('latin1', 0, 16))} instead of "FDP1"`);
    if (bytes.length > 4 && bytes[4] !== VERSION)
      throw new FramingError(`it speaks version ${bytes[4]} of FDP1, and this side speaks version ${VERSION}`);
    if (bytes.length < HELLO_BYTES) return 0;
    const hello = shared({
      codec: bytes.readUInt8(5),
      capabilities: bytes.readUInt16LE(6),
      maxMessageBytes: bytes.readUInt32LE(8),
      maxFds: bytes.readUInt32LE(12),
      window: bytes.readUInt32LE(16),
    });
    this.#greeted = true;
    found.push({ type: 'hello', hello });
    return HELLO_BYTES;
  }

  #frame(bytes: Buffer, at: number, found: Incoming[]): number {
    const begin = at + HEADER_BYTES;
    if (bytes.length < begin) return 0;
    const type = bytes.readUInt8(at);
    const flags = bytes.readUInt8(at + 1);
    const fds = bytes.readUInt16LE(at + 2);
    const length = bytes.readUInt32LE(at + 4);
    const name = WORDS[type];
    if (type !== PART && name === undefined) throw new FramingError(`it sent a frame of the unknown type ${type}`);
    if (flags & ~FLAGS) throw new FramingError(`it sent a frame with the unknown flags ${flags}`);
    if (length > FRAME_BYTES) throw new FramingError(`it sent a frame of ${length} bytes; the most is ${FRAME_BYTES}`);
    if (fds > FRAME_FDS) throw new FramingError(`it sent a frame with ${fds} descriptors; the most is ${FRAME_FDS}`);
    const due = type === CLOSING || type === CONFIRM ? 0 : NUMBER_BYTES;
    if (type !== PART && (length !== due || fds !== 0 || flags !== 0))
      throw new FramingError(`it sent a bad ${name} frame`);
    if (type === PART) this.#bound(length, fds, flags);
    if (bytes.length < begin + length) return 0;

    if (type === TAKEN) found.push({ type: 'taken', count: bytes.readUInt32LE(begin) });
    else if (type === DECLINED) found.push({ type: 'declined', number: bytes.readUInt32LE(begin) });
    else if (type === CLOSING) found.push({ type: 'closing' });
    else if (type === CONFIRM) found.push({ type: 'confirm' });
    else this.#part(bytes.subarray(begin, begin + length), flags, fds, found);
    return HEADER_BYTES + length;
  }

  #bound(length: number, fds: number, flags: number): void {
    const { maxMessageBytes, maxFds } = this.#limits;
    if ((flags & ASKING) === ASKING) throw new FramingError('it sent a request that is a reply');
    const beside = (flags & UNREAD ? 4 + 8 * maxFds + UNREAD_BYTES : 0) + (flags & ASKING ? NUMBER_BYTES : 0);
    if ((this.#body?.length ?? 0) + length > maxMessageBytes + beside) throw longMessage(maxMessageBytes);
    if (this.#fds + fds > maxFds)
      throw new FramingError(`it sent a message with more than ${maxFds} descriptors (maxFds)`);
  }

  #part(payload: Buffer, flags: number, fds: number, found: Incoming[]): void {
    this.#fds += fds;
    this.#flags = flags;
    if (flags & MORE) this.#body ??= new Pile();
    this.#body?.append(payload);
    if (flags & MORE) {
      if (payload.length === 0 && fds === 0) throw new FramingError('it sent a part of a message with nothing in it');
      return;
    }
    const whole = decodeMessage(this.#body?.bytes ?? payload, this.#body !== undefined, this.#fds, flags);
    if (whole.body.value.length > this.#limits.maxMessageBytes) throw longMessage(this.#limits.maxMessageBytes);
    found.push(whole);
    this.#body = undefined;
    this.#fds = 0;
    this.#flags = 0;
  }
}

function longMessage(most: number): FramingError {
  return new FramingError(`it sent a message of more than ${most} bytes (maxMessageBytes)`);
}

function badUnread(): FramingError {
  return new FramingError('it sent a message whose unread bytes do not add up');
}

function decodeMessage(whole: Buffer, own: boolean, fds: number, flags: number): Incoming & { body: Body } {
  const size = windowSize(whole.length);
  if ((flags & ASKING) === 0) return { type: 'message', body: decodeBody(whole, own, fds, flags, size) };
  if (whole.length < NUMBER_BYTES) throw new FramingError('it sent a request or a reply without its number');
  const body = decodeBody(whole.subarray(NUMBER_BYTES), own, fds, flags, size);
  return { type: flags & REQUEST ? 'request' : 'reply', number: whole.readUInt32LE(0), body };
}

function decodeBody(body: Buffer, own: boolean, fds: number, flags: number, size: number): Body {
  if ((flags & UNREAD) === 0) return { value: body, own, fds, unread: [], size };
  const count = body.length < 4 ? Infinity : body.readUInt32LE(0);
  if (count > fds || body.length < 4 + 8 * count) throw badUnread();
  const unread: Unread[] = [];
  const begin = 4 + 8 * count;
  let at = begin;
  for (let i = 0; i < count; i++) {
    const index = body.readUInt32LE(4 + 8 * i);
    const length = body.readUInt32LE(8 + 8 * i);
    if (index >= fds || (i > 0 && index <= unread[i - 1]!.index) || at + length > body.length) throw badUnread();
    unread.push({ index, bytes: Buffer.from(body.subarray(at, at + length)) });
    at += length;
  }
  if (at - begin > UNREAD_BYTES) throw badUnread();
  return { value: body.subarray(at), own, fds, unread, size };
}

/**
 * Encodes FDP1, the protocol of FdChannel. Nothing here uses a socket. `docs/protocol.md` describes the protocol byte
 * by byte.
 *
 * All numbers are little-endian.
 */

export const MAGIC = Buffer.from('FDP1');
export const VERSION = 1;
export const HELLO_BYTES = 20;
export const HEADER_BYTES = 8;
/** The most bytes of payload, and the most descriptors, in one frame. */
export const FRAME_BYTES = 65_536;
export const FRAME_FDS = 253;
/** The most unread bytes of all sockets in one message. A receiver accepts them beyond the limit for the value. */
export const UNREAD_BYTES = 1 << 20;
/** The size of a request's number, and of a number of messages taken. */
export const NUMBER_BYTES = 4;

export const PART = 1;
export const TAKEN = 2;
export const DECLINED = 3;
export const CLOSING = 4;
export const CONFIRM = 5;

/**
 * Flags of a part. MORE: more parts of this message follow. UNREAD: the body has the unread bytes of its sockets.
 * REQUEST: it asks for a reply. REPLY: it is a reply. With either of these two, the body begins with the number of the
 * request.
 */
export const MORE = 1;
export const UNREAD = 2;
export const REQUEST = 4;
export const REPLY = 8;

/**
 * Capabilities in a hello: what its sender understands beyond version 1. This one stands for requests, replies and
 * DECLINED.
 */
export const REQUESTS = 1;
/** The capability for CLOSING. */
export const CLOSES = 2;
/**
 * The capability for CONFIRM. Its sender sends CONFIRM if it waits for a TAKEN. A TAKEN that it did not ask for may be
 * sent later.
 */
export const CONFIRMS = 4;

/**
 * Bytes that one receive takes, unless a frame needs more. They are few, because a peer can put very many messages into
 * a few bytes.
 */
export const SHORT = 8192;

/** The hello, which each side sends first. */
export interface Hello {
  codec: number;
  capabilities: number;
  /**
   * What this side accepts: the bytes of a value, the descriptors of one message, and the bytes of all messages that
   * nobody has taken yet.
   */
  maxMessageBytes: number;
  maxFds: number;
  window: number;
}

let last: Hello | undefined;

/** Returns the same object for hellos that say the same, because there may be very many channels. */
export function shared(hello: Hello): Hello {
  const same = last !== undefined && Object.entries(last).every(([key, value]) => hello[key as keyof Hello] === value);
  return same ? last! : (last = hello);
}

/**
 * The bytes that were read from a descriptor before it was sent. `index` is the place of the descriptor in its message.
 */
export interface Unread {
  index: number;
  bytes: Buffer;
}

/**
 * One frame as it is sent: its bytes in several pieces, one after the other, and how many descriptors go with its first
 * byte.
 */
export interface Frame {
  pieces: Buffer[];
  fds: number;
}

export function encodeHello({ codec, capabilities, maxMessageBytes, maxFds, window }: Hello): Buffer {
  const bytes = Buffer.alloc(HELLO_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt8(VERSION, 4);
  bytes.writeUInt8(codec, 5);
  bytes.writeUInt16LE(capabilities, 6);
  bytes.writeUInt32LE(maxMessageBytes, 8);
  bytes.writeUInt32LE(maxFds, 12);
  bytes.writeUInt32LE(window, 16);
  return bytes;
}

/** Tells how many messages the application has taken since the beginning, modulo 2^32. */
export function encodeTaken(count: number): Buffer {
  return encodeNumber(TAKEN, count);
}

/** Tells that the request with this number gets no reply. */
export function encodeDeclined(request: number): Buffer {
  return encodeNumber(DECLINED, request);
}

/** Tells that the application will take no more messages. */
export function encodeClosing(): Buffer {
  return encodeHeader(CLOSING, 0, 0, 0);
}

/** Asks to be told at once when the messages before it are taken. */
export function encodeConfirm(): Buffer {
  return encodeHeader(CONFIRM, 0, 0, 0);
}

function encodeNumber(type: number, number: number): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + NUMBER_BYTES);
  writeHeader(bytes, type, 0, 0, NUMBER_BYTES);
  bytes.writeUInt32LE(number, HEADER_BYTES);
  return bytes;
}

/**
 * What a message counts against the window, in bytes: its body and a header. The header is counted so that the number
 * of messages without a body is limited too.
 */
export function windowSize(body: number): number {
  return HEADER_BYTES + body;
}

/** What comes before the value in the body of a message. */
export interface Preface {
  /** The number of the request that it is, or that it replies to. */
  number?: number | undefined;
  unread: readonly Unread[];
}

/** The whole body of a message in pieces, which will be divided into parts. */
export function encodeBody(value: Buffer, { number, unread }: Preface): Buffer[] {
  const body = [value];
  if (unread.length > 0) body.unshift(encodeUnread(unread), ...unread.map(({ bytes }) => bytes));
  if (number !== undefined) {
    const head = Buffer.allocUnsafe(NUMBER_BYTES);
    head.writeUInt32LE(number, 0);
    body.unshift(head);
  }
  return body;
}

function encodeUnread(unread: readonly Unread[]): Buffer {
  const head = Buffer.alloc(4 + 8 * unread.length);
  head.writeUInt32LE(unread.length, 0);
  unread.forEach(({ index, bytes }, i) => {
    head.writeUInt32LE(index, 4 + 8 * i);
    head.writeUInt32LE(bytes.length, 8 + 8 * i);
  });
  return head;
}

/** The length of what `encodeBody` returns, in bytes. */
export function bodyLength(value: number, hasNumber: boolean, unread: readonly Unread[]): number {
  const beside = unread.length === 0 ? 0 : 4 + 8 * unread.length + unreadLength(unread);
  return (hasNumber ? NUMBER_BYTES : 0) + beside + value;
}

export function unreadLength(unread: readonly Unread[]): number {
  return unread.reduce((length, { bytes }) => length + bytes.length, 0);
}

/** Divides a message into frames, whose payloads are views of the body's pieces. */
export function encodeMessage(body: readonly Buffer[], fds: number, flags: number): Frame[] {
  const length = body.reduce((sum, piece) => sum + piece.length, 0);
  const frames: Frame[] = [];
  let at = 0;
  let left = fds;
  do {
    const end = Math.min(at + FRAME_BYTES, length);
    const count = Math.min(left, FRAME_FDS);
    left -= count;
    const more = end < length || left > 0;
    const payload = at === 0 && end === length ? body : between(body, at, end);
    frames.push({ pieces: [encodeHeader(PART, more ? flags | MORE : flags, count, end - at), ...payload], fds: count });
    at = end;
  } while (at < length || left > 0);
  return frames;
}

function encodeHeader(type: number, flags: number, fds: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  writeHeader(header, type, flags, fds, length);
  return header;
}

function writeHeader(bytes: Buffer, type: number, flags: number, fds: number, length: number): void {
  bytes[0] = type;
  bytes[1] = flags;
  bytes.writeUInt16LE(fds, 2);
  bytes.writeUInt32LE(length, 4);
}

/** Views of the bytes from `begin` up to, but not including, `end`. */
function between(pieces: readonly Buffer[], begin: number, end: number): Buffer[] {
  const found: Buffer[] = [];
  let at = 0;
  for (const piece of pieces) {
    const part = piece.subarray(Math.max(0, begin - at), Math.max(0, end - at));
    if (part.length > 0) found.push(part);
    at += piece.length;
  }
  return found;
}

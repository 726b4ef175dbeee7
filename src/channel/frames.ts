/**
 * FDP1, the wire of FdChannel, as bytes: pure, and knowing no socket. `docs/protocol.md` describes it byte by byte.
 *
 * All numbers are little-endian.
 */

export const MAGIC = Buffer.from('FDP1');
export const VERSION = 1;
export const HELLO_BYTES = 20;
export const HEADER_BYTES = 8;
/** The most payload bytes, and the most descriptors, of one frame. */
export const FRAME_BYTES = 65_536;
export const FRAME_FDS = 253;
/** The most unread bytes of all sockets of one message: a receiver takes them beside the value. */
export const UNREAD_BYTES = 1 << 20;
/** Of the number of a request, or of messages taken. */
export const NUMBER_BYTES = 4;

export const PART = 1;
export const TAKEN = 2;
export const DECLINED = 3;
export const CLOSING = 4;
export const CONFIRM = 5;

/**
 * Flags of a part: more parts of this message follow; its body has the unread bytes of its sockets; it asks for a
 * reply, or is one, and its body begins with the number of the request.
 */
export const MORE = 1;
export const UNREAD = 2;
export const REQUEST = 4;
export const REPLY = 8;

/** What a hello says that its sender understands beside version 1: requests, replies and DECLINED. */
export const REQUESTS = 1;
/** And CLOSING. */
export const CLOSES = 2;
/** And CONFIRM, which it sends where it waits for a TAKEN: others may come later. */
export const CONFIRMS = 4;

/** What each side says first. */
export interface Hello {
  codec: number;
  capabilities: number;
  /**
   * What this side receives: bytes of the value and descriptors of one message, and bytes of messages that nobody has
   * taken yet.
   */
  maxMessageBytes: number;
  maxFds: number;
  window: number;
}

/** What was read from a descriptor of a message, given by its place there, before it was handed over. */
export interface Unread {
  index: number;
  bytes: Buffer;
}

/**
 * One frame as it goes on the wire, in pieces that are one after the other, and how many descriptors go with its first
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

/** Says how many messages the application has taken since the beginning, modulo 2^32. */
export function encodeTaken(count: number): Buffer {
  return encodeNumber(TAKEN, count);
}

/** Says that the request of this number gets no reply. */
export function encodeDeclined(request: number): Buffer {
  return encodeNumber(DECLINED, request);
}

/** Says that the application takes no message any more. */
export function encodeClosing(): Buffer {
  return encodeHeader(CLOSING, 0, 0, 0);
}

/** Asks to hear at once when the messages before it are taken. */
export function encodeConfirm(): Buffer {
  return encodeHeader(CONFIRM, 0, 0, 0);
}

function encodeNumber(type: number, number: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + NUMBER_BYTES);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32LE(NUMBER_BYTES, 4);
  bytes.writeUInt32LE(number, HEADER_BYTES);
  return bytes;
}

/**
 * What a message counts against the window: its body, and a header, so that messages without a body are not endless.
 */
export function windowSize(body: number): number {
  return HEADER_BYTES + body;
}

/** What stands before the value in the body of a message. */
export interface Preface {
  /** Of the request that it is, or replies to. */
  number?: number | undefined;
  unread: readonly Unread[];
}

/** The whole body of a message, in pieces: what goes into its parts. */
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

/** How long `encodeBody` makes it. */
export function bodyLength(value: number, hasNumber: boolean, unread: readonly Unread[]): number {
  const beside = unread.length === 0 ? 0 : 4 + 8 * unread.length + unreadLength(unread);
  return (hasNumber ? NUMBER_BYTES : 0) + beside + value;
}

export function unreadLength(unread: readonly Unread[]): number {
  return unread.reduce((length, { bytes }) => length + bytes.length, 0);
}

/** Cuts a message into frames. Their payloads are views of the body's pieces. */
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
  header.writeUInt8(type, 0);
  header.writeUInt8(flags, 1);
  header.writeUInt16LE(fds, 2);
  header.writeUInt32LE(length, 4);
  return header;
}

/** Views of the bytes from `begin` up to `end`. */
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

/** The most bytes that are held of an unfinished message. With more, a WebSocket moves when the message is whole. */
const MOST_HELD = 1 << 20;

/** Opcodes of RFC 6455, 5.2: from 8 on they are those of control frames. */
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** Counts the frames of a WebSocket in one direction, without copying whole messages. */
export class Frames {
  readonly #holds: boolean;
  readonly #head = Buffer.alloc(14);
  #headLength = 0;
  /** Bytes of the payload that are still to come. */
  #missing = 0;
  #fragmented = false;
  #closing = false;
  #messages = 0;
  #pings = 0;
  #pongs = 0;
  #pushed = 0;
  #wholeAt = 0;
  /** Frames of an unfinished message, as they came, and the beginning of the next frame. */
  #message: Buffer[] = [];
  #frame: Buffer[] = [];
  #held = 0;
  #lost = false;

  /** `holds`: keep what has come of an unfinished message. */
  constructor(holds: boolean) {
    this.#holds = holds;
  }

  /** Whether it is between two frames. */
  get between(): boolean {
    return this.#headLength === 0;
  }

  /** Whether it is in a message of several frames. */
  get fragmented(): boolean {
    return this.#fragmented;
  }

  /** Whether the close frame has come: nothing after it counts. */
  get closing(): boolean {
    return this.#closing;
  }

  /** How many messages and pings were whole: those may be answered. */
  get asked(): number {
    return this.#messages + this.#pings;
  }

  /** How many messages and pongs were whole: those may be answers. */
  get answers(): number {
    return this.#messages + this.#pongs;
  }

  /**
   * How many bytes there were up to the end of the last whole message, or of a frame behind it, but the last of all.
   */
  get whole(): number {
    return this.#wholeAt;
  }

  /** What has come of an unfinished message; `undefined` when that was too much to hold. */
  get held(): Buffer | undefined {
    return this.#lost ? undefined : Buffer.concat([...this.#message, ...this.#frame]);
  }

  /**
   * How many of these bytes still belong to the frame in whose middle they begin; all of them if it does not end in
   * them.
   */
  endIn(chunk: Buffer): number {
    if (this.between) return 0;
    const size = headSize(this.#head, this.#headLength);
    if (size === undefined || this.#headLength < size) return this.#endOfHead(chunk);
    return Math.min(this.#missing, chunk.length);
  }

  /** Takes the next bytes. */
  push(chunk: Buffer): void {
    let begin = 0;
    let at = 0;
    while (at < chunk.length && !this.#closing) {
      at = this.#missing > 0 ? this.#payload(chunk, at) : this.#header(chunk, at);
      if (this.#missing > 0 || !this.#headIsWhole) continue;
      this.#end(chunk.subarray(begin, at));
      begin = at;
      if (!this.#fragmented && !this.#closing) this.#wholeAt = this.#pushed + at;
    }
    this.#pushed += chunk.length;
    if (begin < chunk.length && !this.#closing) this.#hold(this.#frame, chunk.subarray(begin));
  }

  #payload(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#missing, chunk.length - at);
    this.#missing -= taken;
    return at + taken;
  }

  #header(chunk: Buffer, at: number): number {
    this.#head[this.#headLength++] = chunk[at]!;
    if (this.#headIsWhole) this.#missing = payloadLength(this.#head);
    return at + 1;
  }

  get #headIsWhole(): boolean {
    return this.#headLength === headSize(this.#head, this.#headLength);
  }

  /** A frame is whole; these are its last bytes, or all of them. */
  #end(bytes: Buffer): void {
    const opcode = this.#head[0]! & 15;
    const final = this.#head[0]! >= 128;
    this.#headLength = 0;
    const frame = this.#frame.splice(0);
    if (opcode === CLOSE) this.#closing = true;
    else if (opcode === PING) this.#pings++;
    else if (opcode === PONG) this.#pongs++;
    else if (final) this.#messages++;
    if (opcode >= CLOSE) {
      for (const piece of frame) this.#held -= piece.length;
      return;
    }
    this.#fragmented = !final;
    if (final) this.#forget();
    else {
      this.#message.push(...frame);
      this.#hold(this.#message, bytes);
    }
  }

  /** Keeps a copy, because a reader may unmask the bytes in place. */
  #hold(pieces: Buffer[], bytes: Buffer): void {
    if (!this.#holds || this.#lost) return;
    this.#held += bytes.length;
    if (this.#held <= MOST_HELD) pieces.push(Buffer.from(bytes));
    else {
      this.#forget();
      this.#lost = true;
    }
  }

  #forget(): void {
    this.#message = [];
    this.#frame = [];
    this.#held = 0;
    this.#lost = false;
  }

  #endOfHead(chunk: Buffer): number {
    const head = Buffer.concat([this.#head.subarray(0, this.#headLength), chunk.subarray(0, 14)]);
    const size = headSize(head, head.length);
    if (size === undefined || head.length < size) return chunk.length;
    return Math.min(size - this.#headLength + payloadLength(head), chunk.length);
  }
}

/** The length of a frame's head, once it is known. */
function headSize(head: Buffer, length: number): number | undefined {
  if (length < 2) return undefined;
  const short = head[1]! & 127;
  return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (head[1]! >= 128 ? 4 : 0);
}

function payloadLength(head: Buffer): number {
  const short = head[1]! & 127;
  if (short < 126) return short;
  return short === 126 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2));
}

/** A frame that ends a WebSocket, with a code of RFC 6455, 7.4, as a server sends it, or as a client does. */
export function closeFrame(code: number, reason: string, from: 'server' | 'client'): Buffer {
  const payload = Buffer.concat([Buffer.of(code >> 8, code & 255), Buffer.from(reason)]);
  const head = from === 'server' ? [0x88, payload.length] : [0x88, 0x80 | payload.length, 0, 0, 0, 0];
  return Buffer.concat([Buffer.from(head), payload]);
}

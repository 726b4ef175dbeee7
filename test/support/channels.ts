import { FdChannel, socketpair, type FdChannelOptions, type OwnedFd } from 'fdpasser';
import { encodeHello, REQUESTS, type Hello } from '#dist/channel/frames.js';
import { MAX_FDS } from '#dist/native/addon.js';
import { addon, batch, receive } from '#dist/native/load.js';

/** The types of sockets a channel works over. */
export const TYPES = ['stream', 'seqpacket'] as const;

export type Type = (typeof TYPES)[number];

/** Two channels that talk to each other. */
export function channels<T = unknown>(options: FdChannelOptions & { type?: Type } = {}): [FdChannel<T>, FdChannel<T>] {
  const { type = 'stream', ...own } = options;
  const [a, b] = socketpair({ type });
  return [new FdChannel<T>(a, own), new FdChannel<T>(b, own)];
}

/** A channel, and a raw socket at its other end, on which the test writes what it likes. */
export function channelAndPeer<T = unknown>(options: FdChannelOptions & { type?: Type } = {}): [FdChannel<T>, RawPeer] {
  const { type = 'stream', ...own } = options;
  const [a, b] = socketpair({ type });
  return [new FdChannel<T>(a, own), new RawPeer(b)];
}

/** The hello of a peer with large limits. */
export const HELLO: Hello = {
  codec: 1,
  capabilities: REQUESTS,
  maxMessageBytes: 1 << 24,
  maxFds: 1024,
  window: 65_536,
};

const ROOM = Buffer.alloc(1 << 17);

/** One end of a socket, used only by system calls. */
export class RawPeer {
  readonly #socket: OwnedFd;
  readonly #seen: Buffer[] = [];
  /** The descriptors that came with the bytes. */
  readonly fds: number[] = [];

  constructor(socket: OwnedFd) {
    this.#socket = socket;
  }

  /** Sends all bytes and descriptors with one sendmsg. The descriptors stay the caller's. Throws the kernel's error. */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    const sent = this.trySend(bytes, fds);
    if (sent !== bytes.length) throw new Error(`sendmsg: ${sent} of ${bytes.length} bytes`);
  }

  /** The same, but returns how many bytes the kernel took, or a negative errno. */
  trySend(bytes: Uint8Array, fds: readonly number[] = []): number {
    batch.size[0] = bytes.length;
    batch.count[0] = fds.length;
    batch.fd.set(fds);
    const result = addon.send(this.#socket.fd, bytes, 1);
    return result === 1 ? batch.tail[0]! : result;
  }

  hello(hello: Partial<Hello> = {}): void {
    this.send(encodeHello({ ...HELLO, ...hello }));
  }

  /** All bytes that have come so far on this socket. */
  receive(): Buffer {
    while (receive(this.#socket.fd, ROOM, ROOM.length, 1, 1, 1, MAX_FDS) > 0) {
      this.#seen.push(Buffer.from(ROOM.subarray(0, batch.size[0])));
      for (let i = 0; i < batch.count[0]!; i++) this.fds.push(batch.fd[i]!);
    }
    return Buffer.concat(this.#seen);
  }

  /** Whether the other end has ended, and nothing is left to receive. */
  get atEnd(): boolean {
    return this.pending === 0;
  }

  /** 1 if something can be received, 0 at the end, otherwise negative. */
  get pending(): number {
    return addon.pending(this.#socket.fd);
  }

  endSending(): void {
    addon.endSending(this.#socket.fd);
  }

  close(): void {
    for (const fd of this.fds.splice(0)) addon.close(fd);
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

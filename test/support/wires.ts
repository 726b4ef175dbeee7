import { FdChannel, FdPasser, FdStream, type OwnedFd, type SocketType } from 'fdpasser';
import { identity } from './descriptors.js';

/** One end of any of the three wires, with what they have in common. */
export interface Wire {
  /** Sends one descriptor; resolves as its class says. */
  send(fd: number): Promise<void>;
  /** Identities of what arrived, in order. All are closed. */
  readonly got: string[];
  /** Asks for `count` more descriptors, if the wire needs that. */
  ask(count: number): void;
  /** The events that it emitted, except its end. */
  readonly events: string[];
  /** Set at its end, with the error if there was one. */
  readonly end: { error: Error | undefined } | undefined;
  /** Closes in order, once all is sent. */
  close(): void;
  destroy(): void;
}

export interface WireKind {
  name: string;
  type: SocketType;
  /** Whether a descriptor that `send` could not send is the caller's again. */
  givesBack: boolean;
  /** Whether a resolved `send` means that the other end took it. */
  confirms: boolean;
  /** Whether nothing is asked for until something has come. */
  askedLate?: boolean;
  open(socket: OwnedFd | number, took?: (id: string) => void): Wire;
}

abstract class Tested implements Wire {
  readonly got: string[] = [];
  readonly events: string[] = [];
  end: { error: Error | undefined } | undefined;
  readonly #took: ((id: string) => void) | undefined;

  constructor(took?: (id: string) => void) {
    this.#took = took;
  }

  abstract send(fd: number): Promise<void>;
  abstract ask(count: number): void;
  abstract close(): void;
  abstract destroy(): void;

  protected take(fd: OwnedFd): void {
    const id = identity(fd.fd);
    this.#took?.(id);
    this.got.push(id);
    fd.close();
  }
}

class Passer extends Tested {
  readonly #passer: FdPasser;

  constructor(fh: OwnedFd | number, batch: number, took?: (id: string) => void) {
    super(took);
    let error: Error | undefined;
    this.#passer = new FdPasser({ fh, batch, onError: (reason) => (error = reason) });
    this.#passer.on('close', () => (this.end = { error }));
    for (const event of ['exhausted', 'resumed'] as const) this.#passer.on(event, () => this.events.push(event));
  }

  send(fd: number): Promise<void> {
    return this.#passer.send(fd);
  }

  ask(count: number): void {
    for (let i = 0; i < count; i++) this.#passer.receive().then((fd) => this.take(fd), ended);
  }

  close(): void {
    void this.#passer.close();
  }

  destroy(): void {
    this.#passer.destroy();
  }
}

class Channel extends Tested {
  readonly #channel: FdChannel;

  constructor(fh: OwnedFd | number, took?: (id: string) => void) {
    super(took);
    let error: Error | undefined;
    this.#channel = new FdChannel(fh, { onError: (reason) => (error = reason) });
    this.#channel.on('close', () => (this.end = { error }));
    for (const event of ['exhausted', 'resumed'] as const) this.#channel.on(event, () => this.events.push(event));
  }

  send(fd: number): Promise<void> {
    return this.#channel.send(null, [fd], { confirm: true });
  }

  ask(count: number): void {
    for (let i = 0; i < count; i++)
      this.#channel.receive().then(({ fds }) => {
        for (const fd of fds) this.take(fd);
      }, ended);
  }

  close(): void {
    void this.#channel.close();
  }

  destroy(): void {
    this.#channel.destroy();
  }
}

class Stream extends Tested {
  readonly #stream: FdStream;

  constructor(fh: OwnedFd | number, took?: (id: string) => void) {
    super(took);
    let error: Error | undefined;
    this.#stream = new FdStream(fh);
    this.#stream.on('error', (reason) => (error = reason)).on('close', () => (this.end = { error }));
    this.#stream.on('fds', (fds: OwnedFd[]) => {
      for (const fd of fds) this.take(fd);
    });
    for (const event of ['exhausted', 'resumed'] as const) this.#stream.on(event, () => this.events.push(event));
    this.#stream.resume();
  }

  send(fd: number): Promise<void> {
    return new Promise((resolve, reject) =>
      this.#stream.writeWithFds(Buffer.from('x'), [fd], {}, (error) => (error ? reject(error) : resolve())),
    );
  }

  ask(): void {}

  close(): void {
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
  }
}

/** Does nothing: `end` has the reason. */
function ended(): void {}

export const WIRES: readonly WireKind[] = [
  ...(['stream', 'seqpacket', 'dgram'] as const).map((type) => ({
    name: `FdPasser ${type}`,
    type,
    givesBack: true,
    confirms: false,
    open: (socket: OwnedFd | number, took?: (id: string) => void) => new Passer(socket, 1, took),
  })),
  ...(['stream', 'seqpacket'] as const).map((type) => ({
    name: `FdPasser ${type}, asked late`,
    type,
    givesBack: true,
    confirms: false,
    askedLate: true,
    open: (socket: OwnedFd | number, took?: (id: string) => void) => new Passer(socket, 1, took),
  })),
  {
    name: 'FdPasser batch',
    type: 'stream',
    givesBack: true,
    confirms: false,
    open: (socket, took) => new Passer(socket, 3, took),
  },
  {
    name: 'FdStream',
    type: 'stream',
    givesBack: false,
    confirms: false,
    open: (socket, took) => new Stream(socket, took),
  },
  ...(['stream', 'seqpacket'] as const).map((type) => ({
    name: `FdChannel ${type}`,
    type,
    givesBack: true,
    confirms: true,
    open: (socket: OwnedFd | number, took?: (id: string) => void) => new Channel(socket, took),
  })),
];

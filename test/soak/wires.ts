/** The two ends of a wire, alike for passers, streams and channels. */
import { FdChannel, FdPasser, FdStream, socketpair, type FdLike, type OwnedFd } from 'fdpasser';
import type { Wire } from './plan.js';

/** Sends. */
export interface Outlet {
  /** How many the kernel has. */
  readonly sent: number;
  /** Sends some; resolves when the kernel has them, rejects when it never will. */
  send(fds: FdLike[], keepOpen: boolean): Promise<void>;
  /** Sends what is queued, then ends. */
  close(): Promise<void>;
  destroy(): void;
}

export interface InletOwner {
  received(fd: OwnedFd): void;
  exhausted(): void;
  /** Nothing more comes. */
  ended(error: Error | undefined): void;
}

/** Receives as many as it was asked for, or a few more. */
export interface Inlet {
  ask(more: number): void;
  destroy(): void;
}

export function outlet(wire: Wire, socket: OwnedFd): Outlet {
  if (wire.kind === 'stream') return new StreamOutlet(socket);
  return wire.kind === 'channel' ? new ChannelOutlet(socket) : new PasserOutlet(socket, wire);
}

export function inlet(wire: Wire, socket: OwnedFd, owner: InletOwner): Inlet {
  if (wire.kind === 'stream') return new StreamInlet(socket, owner);
  return wire.kind === 'channel' ? new ChannelInlet(socket, owner) : new PasserInlet(socket, owner, wire.renew > 0);
}

class PasserOutlet implements Outlet {
  sent = 0;
  readonly #wire: Wire;
  #passer: FdPasser;
  #batches = 0;
  /** The end of all passers but the newest. */
  #closing: Promise<unknown> = Promise.resolve();
  /** Callers that wait for the newest passer, in each direction. */
  #waiting = new Set<(why: Error) => void>();

  constructor(socket: OwnedFd, wire: Wire) {
    this.#wire = wire;
    this.#passer = this.#passerOver(socket);
  }

  async send(fds: FdLike[], keepOpen: boolean): Promise<void> {
    if (this.#wire.renew > 0 && ++this.#batches % this.#wire.renew === 0) this.#renew();
    // If later descriptors were sent before the socket, they could take the room in flight that the socket needs, for
    // ever.
    await this.#closing;
    const passer = this.#passer;
    const waiting = this.#waiting;
    await new Promise<void>((resolve, reject) => {
      waiting.add(reject);
      fds.forEach((fd, i) =>
        passer.pushSendFh(fd, { keepOpen }, () => {
          this.sent++;
          if (i < fds.length - 1) return;
          waiting.delete(reject);
          resolve();
        }),
      );
    });
  }

  async close(): Promise<void> {
    await this.#closing;
    await this.#passer.close();
  }

  destroy(): void {
    this.#passer.destroy();
  }

  #passerOver(socket: OwnedFd): FdPasser {
    const passer = new FdPasser({ fh: socket, batch: this.#wire.batch });
    let failure = new Error('the passer closed in order');
    passer.once('error', (error) => (failure = error));
    const waiting = new Set<(why: Error) => void>();
    this.#waiting = waiting;
    passer.once('close', () => {
      for (const reject of waiting) reject(failure);
    });
    return passer;
  }

  /** A passer over a passer: the old one sends a socket last, and the new one goes on there before anybody has it. */
  #renew(): void {
    let pair: [OwnedFd, OwnedFd];
    try {
      pair = socketpair({ type: this.#wire.type });
    } catch {
      return; // no slot just now
    }
    this.#passer.pushSendFh(pair[1]);
    this.#closing = Promise.all([this.#closing, this.#passer.close()]);
    this.#passer = this.#passerOver(pair[0]);
  }
}

class PasserInlet implements Inlet {
  readonly #owner: InletOwner;
  /** Whether sockets that come are the next passer's. */
  readonly #renewed: boolean;
  #passer: FdPasser;
  #asked = 0;

  constructor(socket: OwnedFd, owner: InletOwner, renewed: boolean) {
    this.#owner = owner;
    this.#renewed = renewed;
    this.#passer = this.#passerOver(socket);
  }

  ask(more: number): void {
    this.#asked += more;
    try {
      for (; more > 0; more--) this.#passer.pushRecvFh(this.#received);
    } catch {
      // It has ended, which is told.
    }
  }

  destroy(): void {
    this.#passer.destroy();
  }

  readonly #received = (fd: OwnedFd): void => {
    if (this.#renewed && fd.kind.startsWith('unix-')) {
      this.#passer = this.#passerOver(fd);
      const asked = this.#asked;
      this.#asked = 0;
      this.ask(asked);
      return;
    }
    this.#asked--;
    this.#owner.received(fd);
  };

  #passerOver(socket: OwnedFd): FdPasser {
    const passer = new FdPasser({ fh: socket });
    let failure: Error | undefined;
    passer.on('error', (error) => (failure = error));
    passer.on('exhausted', () => this.#owner.exhausted());
    passer.once('close', () => {
      if (passer === this.#passer || failure !== undefined) this.#owner.ended(failure);
    });
    return passer;
  }
}

class StreamOutlet implements Outlet {
  sent = 0;
  readonly #stream: FdStream;
  readonly #whenClosed: Promise<void>;

  constructor(socket: OwnedFd) {
    this.#stream = new FdStream(socket);
    this.#stream.resume();
    this.#stream.on('error', () => {}); // each write tells it
    this.#whenClosed = new Promise((resolve) => this.#stream.once('close', resolve));
  }

  send(fds: FdLike[], keepOpen: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stream.writeWithFds(Buffer.alloc(1 + fds.length), fds, { keepOpen }, (error) => {
        if (error) {
          reject(error);
          return;
        }
        this.sent += fds.length;
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    this.#stream.end();
    await this.#whenClosed;
  }

  destroy(): void {
    this.#stream.destroy();
  }
}

class StreamInlet implements Inlet {
  readonly #stream: FdStream;
  #asked = 0;

  constructor(socket: OwnedFd, owner: InletOwner) {
    this.#stream = new FdStream(socket);
    this.#stream.on('fds', (fds: OwnedFd[]) => {
      this.#asked -= fds.length;
      if (this.#asked <= 0) this.#stream.pause();
      for (const fd of fds) owner.received(fd);
    });
    this.#stream.on('data', () => {
      if (this.#asked <= 0) this.#stream.pause();
    });
    let failure: Error | undefined;
    this.#stream.on('exhausted', () => owner.exhausted());
    this.#stream.on('error', (error) => (failure = error));
    this.#stream.once('close', () => owner.ended(failure));
  }

  ask(more: number): void {
    this.#asked += more;
    if (this.#asked > 0) this.#stream.resume();
  }

  destroy(): void {
    this.#stream.destroy();
  }
}

class ChannelOutlet implements Outlet {
  sent = 0;
  readonly #channel: FdChannel<number>;

  constructor(socket: OwnedFd) {
    this.#channel = new FdChannel<number>(socket);
  }

  async send(fds: FdLike[], keepOpen: boolean): Promise<void> {
    await this.#channel.send(fds.length, fds, { keepOpen });
    this.sent += fds.length;
  }

  close(): Promise<void> {
    return this.#channel.close();
  }

  destroy(): void {
    this.#channel.destroy();
  }
}

class ChannelInlet implements Inlet {
  readonly #channel: FdChannel<number>;
  readonly #owner: InletOwner;
  #asked = 0;
  #more: (() => void) | undefined;

  constructor(socket: OwnedFd, owner: InletOwner) {
    this.#channel = new FdChannel<number>(socket);
    this.#channel.on('exhausted', () => owner.exhausted());
    this.#owner = owner;
    void this.#receive().then(
      () => owner.ended(undefined),
      (error: Error) => owner.ended(error),
    );
  }

  ask(more: number): void {
    this.#asked += more;
    if (this.#asked > 0) this.#more?.();
  }

  destroy(): void {
    this.#channel.destroy();
  }

  async #receive(): Promise<void> {
    for await (const { fds } of this.#channel) {
      this.#asked -= fds.length;
      for (const fd of fds) this.#owner.received(fd);
      while (this.#asked <= 0) await new Promise<void>((resolve) => (this.#more = resolve));
    }
  }
}

import assert from 'node:assert/strict';
import { FdPasser, socketpair, type FdLike, type FdPasserOptions, type OwnedFd, type SocketType } from 'fdpasser';
import { anonymousFile, identity, until } from './descriptors.js';

/** More one-byte messages than the kernel queues on a socket. */
export const TOO_MANY = 1000;

/** Two passers, connected to each other. */
export function connected(options: FdPasserOptions & { type?: SocketType } = {}): [FdPasser, FdPasser] {
  const { type, ...rest } = options;
  const [a, b] = socketpair(type === undefined ? {} : { type });
  return [new FdPasser({ ...rest, fh: a }), new FdPasser({ ...rest, fh: b })];
}

/** Queues new files, and returns their identities. */
export function pushFiles(passer: FdPasser, count: number): string[] {
  return Array.from({ length: count }, () => {
    const fd = anonymousFile();
    const file = identity(fd);
    passer.pushSendFh(fd);
    return file;
  });
}

/** Receives and closes descriptors one after the other; returns their identities. */
export async function receiveFiles(passer: FdPasser, count: number): Promise<string[]> {
  const received: string[] = [];
  while (received.length < count) {
    using fd = await passer.receive();
    received.push(identity(fd.fd));
  }
  return received;
}

/** What a passer reports about its end. */
export class Life {
  /** The argument of each call of `onError`. */
  readonly reports: (Error | undefined)[] = [];
  /** How often `'close'` was emitted. */
  closes = 0;

  /** Waits for `'close'`, and then until a second report would have come. */
  async over(): Promise<void> {
    await until(() => this.closes > 0); // polled, because an idle passer alone does not keep the process alive
    await turns();
  }
}

/** Makes a passer, and notes how it ends. */
export function observed(options: FdPasserOptions = {}): [FdPasser, Life] {
  const life = new Life();
  const passer = new FdPasser({ ...options, onError: (error) => life.reports.push(error) });
  passer.on('close', () => life.closes++);
  return [passer, life];
}

/** Waits for some turns of the event loop. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A callback that must not be called. */
export function unexpected(): never {
  assert.fail('called');
}

/** Sends a descriptor through a passer within this process. */
export async function passed(fh: FdLike): Promise<OwnedFd> {
  const [near, far] = socketpair();
  await using from = new FdPasser({ fh: near });
  await using to = new FdPasser({ fh: far });
  await from.send(fh);
  return await to.receive();
}

import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { FdChannel, FdPasser, FdStream, socketpair, type FdLike, type OwnedFd } from 'fdpasser';
import { encodeHello } from '#dist/channel/frames.js';
import { HELLO, RawPeer } from './channels.js';
import { anonymousFile, identity, isOpen, until } from './descriptors.js';
import { turns } from './passing.js';
import { unready } from './unready.js';

/** How a descriptor is handed over. */
export type Term = 'plain' | 'keepOpen' | 'signal' | 'confirm' | 'push';
/** Why queued sends have not been sent when the end comes. */
export type State = 'nothing waits' | 'the socket is full' | 'the first is not ready';
export type End =
  | 'close(), then the peer goes'
  | 'destroy()'
  | 'destroy(error)'
  | 'the peer goes'
  | 'the peer goes, then destroy()'
  | 'all is aborted, then close()'
  | 'closed behind, then close()'
  | 'closed behind, then destroy()'
  | 'closed behind, then a send';

export interface Row {
  wire: string;
  term: Term;
  state: State;
  end: End;
}

/** One end of a wire, with what all wires have in common. */
interface Ending {
  send(fh: FdLike, signal: AbortSignal, keepOpen?: boolean): Promise<void>;
  receive(): Promise<unknown>;
  close(): Promise<void>;
  destroy(error?: Error): void;
  /** How often `'close'` was emitted. */
  closes: number;
}

interface Kind {
  type: 'stream' | 'seqpacket';
  terms: readonly Term[];
  /** Whether what could not be sent without `keepOpen` is closed, not given back. */
  closes(term: Term): boolean;
  /** So many sends are more than the kernel takes while the peer reads nothing. */
  tooMany: number;
  open(fh: OwnedFd, term: Term): Ending;
}

const SIGNAL: readonly Term[] = ['plain', 'keepOpen', 'signal'];

/** What passers and channels have in common. */
function ending(wire: FdPasser | FdChannel, send: Ending['send']): Ending {
  const one: Ending = {
    send,
    receive: () => wire.receive(),
    close: () => wire.close(),
    destroy: (error) => wire.destroy(error),
    closes: 0,
  };
  wire.on('close', () => one.closes++);
  return one;
}

function passer(fh: OwnedFd, term: Term): Ending {
  const wire = new FdPasser({ fh });
  return ending(wire, (sent, signal, keepOpen = term === 'keepOpen') =>
    term === 'push'
      ? // Not told when it is refused: it settles at once.
        Promise.resolve(wire.pushSendFh(sent, { keepOpen }))
      : wire.send(sent, { keepOpen, ...(term === 'signal' ? { signal } : {}) }),
  );
}

function channel(fh: OwnedFd, term: Term): Ending {
  const wire = new FdChannel(fh);
  return ending(wire, (sent, signal, keepOpen = term === 'keepOpen') =>
    wire.send('x'.repeat(1000), [sent], {
      keepOpen,
      confirm: term === 'confirm',
      ...(term === 'signal' ? { signal } : {}),
    }),
  );
}

function stream(fh: OwnedFd, term: Term): Ending {
  const wire = new FdStream(fh);
  const ending: Ending = {
    send: (sent, _signal, keepOpen = term === 'keepOpen') =>
      new Promise((resolve, reject) => {
        const written = (error?: Error | null): void => (error ? reject(error) : resolve());
        wire.writeWithFds(Buffer.alloc(10_000), [sent], { keepOpen }, written);
      }),
    receive: () => new Promise((resolve) => wire.once('close', resolve)),
    close: () =>
      new Promise((resolve) => {
        if (wire.closed) resolve();
        else wire.once('close', resolve).end();
      }),
    destroy: (error) => void wire.destroy(error),
    closes: 0,
  };
  wire.on('error', () => {}).on('close', () => ending.closes++);
  wire.resume();
  return ending;
}

export const KINDS: Readonly<Record<string, Kind>> = {
  ...Object.fromEntries(
    (['stream', 'seqpacket'] as const).flatMap((type): [string, Kind][] => [
      [
        `passer over ${type}`,
        { type, terms: [...SIGNAL, 'push'], closes: (term) => term === 'push', tooMany: 400, open: passer },
      ],
      [
        `channel over ${type}`,
        { type, terms: [...SIGNAL, 'confirm'], closes: () => false, tooMany: 100, open: channel },
      ],
    ]),
  ),
  stream: { type: 'stream', terms: ['plain', 'keepOpen'], closes: () => true, tooMany: 100, open: stream },
};

export const STATES: readonly State[] = ['nothing waits', 'the socket is full', 'the first is not ready'];

export const ENDS: readonly End[] = [
  'close(), then the peer goes',
  'destroy()',
  'destroy(error)',
  'the peer goes',
  'the peer goes, then destroy()',
  'all is aborted, then close()',
];

/** A number closed behind its owner is closed once more by the library, which the guard of the tests forbids. */
export const ENDS_BEHIND: readonly End[] = [
  'closed behind, then close()',
  'closed behind, then destroy()',
  'closed behind, then a send',
];

export function rows(ends: readonly End[]): Row[] {
  const all = Object.entries(KINDS).flatMap(([wire, { terms }]) =>
    terms.flatMap((term) => STATES.flatMap((state) => ends.map((end) => ({ wire, term, state, end })))),
  );
  return all.filter(({ wire, term, state, end }) => {
    if (end === 'all is aborted, then close()') return term === 'signal';
    // A timer finds these out, after half a second: a few are enough.
    const slow = end === 'closed behind, then a send' || (wire === 'stream' && end === 'closed behind, then close()');
    return !slow || state !== 'the socket is full' || (wire !== 'stream' && term === 'plain');
  });
}

/** What became of a promise. */
type Outcome = 'resolved' | 'rejected' | undefined;

class Watched {
  outcome: Outcome;

  constructor(promise: Promise<unknown>) {
    promise.then(
      () => (this.outcome = 'resolved'),
      () => (this.outcome = 'rejected'),
    );
  }
}

/** Ends a wire as the row says. Throws unless everything settles, and each descriptor is where the documents say. */
export async function endAs({ wire, term, state, end }: Row): Promise<void> {
  const kind = KINDS[wire]!;
  const [fh, other] = socketpair({ type: kind.type });
  const number = fh.fd;
  const peer = new RawPeer(other);
  const one = kind.open(fh, term);
  const waiting = await unready();
  const control = new AbortController();
  if (wire.startsWith('channel')) peer.send(encodeHello(HELLO));
  await turns();

  const files: { fd: number; id: string; sent: Watched }[] = [];
  const send = (fd = anonymousFile()): void => {
    files.push({ fd, id: identity(fd), sent: new Watched(one.send(fd, control.signal)) });
  };
  const first =
    state === 'the first is not ready' && term !== 'keepOpen'
      ? new Watched(one.send(waiting.socket, control.signal))
      : undefined;
  const filler = anonymousFile();
  const fillers =
    state === 'the socket is full'
      ? Array.from({ length: kind.tooMany }, () => new Watched(one.send(filler, control.signal, true)))
      : [];
  if (state !== 'nothing waits') for (let i = 0; i < 3; i++) send();
  const all = [new Watched(one.receive())];
  await turns();

  switch (end) {
    case 'close(), then the peer goes':
      all.push(new Watched(one.close()));
      await turns();
      peer.close();
      break;
    case 'destroy()':
      one.destroy();
      break;
    case 'destroy(error)':
      one.destroy(new Error('enough'));
      break;
    case 'the peer goes':
      peer.close();
      break;
    case 'the peer goes, then destroy()':
      peer.close();
      one.destroy();
      break;
    case 'all is aborted, then close()':
      control.abort();
      all.push(new Watched(one.close()));
      await turns();
      peer.close();
      break;
    case 'closed behind, then close()':
      closeSync(number);
      all.push(new Watched(one.close()));
      break;
    case 'closed behind, then destroy()':
      closeSync(number);
      one.destroy();
      break;
    case 'closed behind, then a send': {
      const fd = anonymousFile();
      closeSync(number);
      send(fd);
    }
  }
  const settling = [...all, ...fillers, ...files.map(({ sent }) => sent), ...(first === undefined ? [] : [first])];
  await until(() => settling.every(({ outcome }) => outcome !== undefined) && one.closes > 0);
  await turns();
  await one.close();
  assert.equal(one.closes, 1, "'close' is emitted once");

  for (const { fd, id, sent } of files) {
    const kept = term === 'keepOpen' || (sent.outcome === 'rejected' && !kind.closes(term));
    assert.equal(isOpen(fd) && identity(fd) === id, kept, `${sent.outcome}: is it open here?`);
    if (kept) closeSync(fd);
  }
  if (first !== undefined)
    assert.equal(waiting.socket.destroyed, kind.closes(term), 'the connection is whose it should be');
  closeSync(filler);
  waiting.release();
  await closed(waiting.socket);
  peer.close();
}

async function closed(socket: Socket): Promise<void> {
  await until(() => socket.closed);
}

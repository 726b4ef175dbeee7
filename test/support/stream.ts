import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { FdStream, socketpair, type FdStreamOptions, type OwnedFd } from 'fdpasser';
import { ended, message, startChild } from './child.js';
import { anonymousFile, identity } from './descriptors.js';

/** A stream at each end of a pair. */
export function streamPair(one?: FdStreamOptions, other: FdStreamOptions | undefined = one): [FdStream, FdStream] {
  const [a, b] = socketpair();
  return [new FdStream(a, one), new FdStream(b, other)];
}

/** Bytes, and the files that went along, each with its place among the bytes. */
export interface Traffic {
  bytes: Buffer;
  fds: { id: string; at: number }[];
}

/** Writes random bytes with new files to a stream, and remembers them. */
export class Script {
  readonly #stream: FdStream;
  readonly #chunks: Buffer[] = [];
  readonly #fds: Traffic['fds'] = [];
  size = 0;

  constructor(stream: FdStream) {
    this.#stream = stream;
  }

  /** Returns what the stream's own write returns. */
  write(size: number, descriptors = 0): boolean {
    const bytes = randomBytes(size);
    const fds = Array.from({ length: descriptors }, anonymousFile);
    for (const fd of fds) this.#fds.push({ id: identity(fd), at: this.size });
    this.#chunks.push(bytes);
    this.size += size;
    return descriptors === 0 ? this.#stream.write(bytes) : this.#stream.writeWithFds(bytes, fds);
  }

  get sent(): Traffic {
    return { bytes: Buffer.concat(this.#chunks), fds: this.#fds };
  }
}

/** Notes the files that a stream brings, and closes them. `at` returns how many bytes were read before. */
export function noteFiles(stream: FdStream, at: () => number = () => 0): Traffic['fds'] {
  const fds: Traffic['fds'] = [];
  stream.on('fds', (brought: OwnedFd[]) => {
    for (const fd of brought) {
      fds.push({ id: identity(fd.fd), at: at() });
      fd.close();
    }
  });
  return fds;
}

/** Reads a stream to its end. */
export async function readAll(stream: FdStream): Promise<Traffic> {
  const chunks: Buffer[] = [];
  let size = 0;
  const fds = noteFiles(stream, () => size);
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
  });
  await new Promise((resolve, reject) => stream.once('end', resolve).once('error', reject));
  return { bytes: Buffer.concat(chunks), fds };
}

/** Asserts that all bytes and files arrived in order, and no file after its bytes. */
export function assertArrived(arrived: Traffic, sent: Traffic): void {
  assert.ok(arrived.bytes.equals(sent.bytes), `${arrived.bytes.length} bytes arrived of ${sent.bytes.length} sent`);
  assert.deepEqual(
    arrived.fds.map(({ id }) => id),
    sent.fds.map(({ id }) => id),
  );
  for (const [i, { at }] of arrived.fds.entries())
    assert.ok(at <= sent.fds[i]!.at, `file ${i} went with byte ${sent.fds[i]!.at} and came after ${at} bytes`);
}

/** Lets the event loop check every descriptor that it watches. */
export async function lookAround(): Promise<void> {
  for (let i = 0; i < 4; i++) await turn();
}

/** The errors of a write when nobody is left to read it. */
export const PEER_GONE = new Set(['EPIPE', 'ECONNRESET']);

export interface Source {
  stream: FdStream;
  /** The files it has sent. */
  ids: string[];
  kill: () => Promise<void>;
}

/** A child that has sent `chunks` times `size` bytes with a file, and reads nothing. */
export async function startSource(chunks: number, size: number): Promise<Source> {
  const [mine, theirs] = socketpair();
  const child = startChild('stream/stream-source', { peer: theirs, args: [String(chunks), String(size)] });
  theirs.close();
  const ids = await message<string[]>(child);
  return {
    stream: new FdStream(mine),
    ids,
    kill: async () => {
      const end = ended(child);
      child.kill('SIGKILL');
      const { code, signal, stderr } = await end;
      assert.deepEqual({ code, signal, stderr }, { code: null, signal: 'SIGKILL', stderr: '' });
      await lookAround();
    },
  };
}

import { writeSync } from 'node:fs';
import type { Socket, SocketConstructorOpts } from 'node:net';
import type { ReadStream, WriteStream } from 'node:tty';
import { builtin } from '../common/lazy-modules.js';
import { handleNumber, setNonblocking } from './node-internals.js';

type Callback = (error?: Error | null) => void;

/** Between two attempts to write to a terminal whose buffer is full, in milliseconds: at first, and at most. */
const SHORTEST = 1;
const LONGEST = 64;

/**
 * Streams of a terminal, which read and write on the event loop: a quiet or stopped one holds up neither that nor the
 * threads for files.
 *
 * libuv opens the other end of a pseudo-terminal, the one that programs run on, once more by its name, and uses another
 * number then (`isReopened`); whoever else has the one that came here keeps its own flags.
 */
export function readTerminal(fd: number, options: { highWaterMark?: number; encoding?: BufferEncoding }): ReadStream {
  return harmless(new builtin.tty.ReadStream(fd, options as SocketConstructorOpts), fd);
}

export function writeTerminal(fd: number): WriteStream {
  return harmless(new builtin.tty.WriteStream(fd), fd);
}

/** Whether a stream has a number of its own: `fd` is still to be closed. */
export function isReopened(stream: Socket, fd: number): boolean {
  return handleNumber(stream) !== fd;
}

function harmless<T extends Socket>(stream: T, fd: number): T {
  setNonblocking(stream); // a tty.WriteStream waits for the kernel
  if (!isReopened(stream, fd)) writeByTrial(stream, fd);
  endAtHangUp(stream);
  return stream;
}

/** One that libuv could not open again it writes to until all is written, and nothing else runs meanwhile. */
function writeByTrial(stream: Socket, fd: number): void {
  const write = (bytes: Buffer, delay: number, callback: Callback): void => {
    if (stream.destroyed) return;
    let written = 0;
    try {
      written = writeSync(fd, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') {
        callback(error as Error);
        return;
      }
    }
    if (written === bytes.length) callback();
    else {
      const next = written > 0 ? SHORTEST : Math.min(delay * 2, LONGEST);
      setTimeout(() => write(bytes.subarray(written), next, callback), next);
    }
  };
  stream._write = (chunk: string | Buffer, encoding, callback) =>
    write(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk, SHORTEST, callback);
  (stream as { _writev?: unknown })._writev = null;
}

/** A read after the other end has hung up gives EIO, at the end that a terminal's master is. */
function endAtHangUp(stream: Socket): void {
  const destroy = stream.destroy.bind(stream);
  stream.destroy = (error) => {
    const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
    if (code !== 'EIO' || syscall !== 'read') return destroy(error);
    stream.push(null);
    stream.read(0);
    return stream;
  };
}

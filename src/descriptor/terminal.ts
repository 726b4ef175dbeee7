import { writeSync } from 'node:fs';
import type { Socket, SocketConstructorOpts } from 'node:net';
import type { ReadStream, WriteStream } from 'node:tty';
import { builtin } from '../common/lazy-modules.js';
import { handleNumber, setNonblocking } from './node-internals.js';

type Callback = (error?: Error | null) => void;

/** Milliseconds between two attempts to write to a terminal whose buffer is full: the first time, and at most. */
const SHORTEST = 1;
const LONGEST = 64;

/**
 * Makes streams of a terminal, which read and write on the event loop. So a terminal that is quiet or stopped delays
 * neither the event loop nor the threads for files.
 *
 * A pseudo-terminal has two ends. libuv opens the end on which programs run once more, by its name, and uses the new
 * number (`isReopened`). So whoever else has the number that came here keeps its own flags.
 */
export function readTerminal(
  fd: number,
  options: { highWaterMark?: number | undefined; encoding?: BufferEncoding | undefined },
): ReadStream {
  return harmless(new builtin.tty.ReadStream(fd, options as SocketConstructorOpts), fd);
}

export function writeTerminal(fd: number): WriteStream {
  return harmless(new builtin.tty.WriteStream(fd), fd);
}

/** Whether a stream has opened a number of its own. Then `fd` must still be closed. */
export function isReopened(stream: Socket, fd: number): boolean {
  return handleNumber(stream) !== fd;
}

function harmless<T extends Socket>(stream: T, fd: number): T {
  setNonblocking(stream); // by default a tty.WriteStream blocks
  if (!isReopened(stream, fd)) writeByTrial(stream, fd);
  endAtHangUp(stream);
  return stream;
}

/**
 * Replaces the way a stream writes if libuv could not open its terminal again. libuv writes to such a terminal until
 * everything is written, and nothing else runs meanwhile.
 */
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

/** Makes the stream end when the other end has hung up. The read of a terminal's master then fails with EIO. */
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

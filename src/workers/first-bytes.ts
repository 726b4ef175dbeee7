import { builtin } from '../common/lazy-modules.js';
import type { TcpConnection } from '../endpoint/tcp-connection.js';
import type { Settings } from './options.js';

// Milliseconds from one peek to the next, while some bytes are there and more are wanted.
const FIRST_WAIT = 2;
const LONGEST_WAIT = 50;

/**
 * The first bytes of a connection, as soon as there are enough. After the time limit: those that have come, if any; the
 * same when `until` throws, of which `failed` hears, and when the signal is aborted.
 */
export async function firstBytes(
  connection: TcpConnection,
  { bytes, until, timeout }: NonNullable<Settings['peek']>,
  failed: (error: Error) => void,
  signal: AbortSignal,
): Promise<Buffer> {
  const enough = (first: Buffer): boolean => {
    try {
      return signal.aborted || first.length === 0 || first.length === bytes || until(first);
    } catch (error) {
      failed(error as Error);
      return true;
    }
  };
  const deadline = performance.now() + timeout;
  let first = await connection.peek(bytes, { timeout, signal }).catch(noneInTime);
  if (signal.aborted) return connection.peek(bytes, { timeout: 0 }).catch(noneInTime);
  for (let wait = FIRST_WAIT; !enough(first);) {
    const left = deadline - performance.now();
    if (left <= 0) break;
    // No event reports more bytes: the socket has been readable all along.
    await builtin.timers.setTimeout(Math.min(wait, left), undefined, { signal }).catch(() => {});
    wait = Math.min(wait * 2, LONGEST_WAIT);
    first = await connection.peek(bytes);
  }
  return first;
}

function noneInTime(error: NodeJS.ErrnoException): Buffer {
  if (error.code === 'ERR_FDPASSER_TIMEOUT' || error.name === 'AbortError') return Buffer.alloc(0);
  throw error;
}

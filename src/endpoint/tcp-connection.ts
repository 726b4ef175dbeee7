import { constants } from 'node:os';
import { ABORTABLE, abortable, type Abortable } from '../common/abort.js';
import { checkInteger, type Names } from '../common/arguments.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { ownership } from '../descriptor/ownership.js';
import { checked, closed, notPeeked, systemError } from '../errors.js';
import { READABLE, STOPPED, type Watch } from '../native/addon.js';
import { addon } from '../native/load.js';
import type { TcpAddress } from './tcp-address.js';

export interface PeekOptions extends Abortable {
  /** How long to wait for the first byte, in milliseconds. Default: without limit. */
  timeout?: number | undefined;
}

const PEEK: Names<PeekOptions> = { ...ABORTABLE, timeout: true };

const { EAGAIN } = constants.errno;
/** The most bytes that a peek copies. */
const MOST = 65_536;
const MAX_DELAY = 0x7fff_ffff;

/** An accepted TCP connection: its descriptor, and the address of its other end. */
export class TcpConnection {
  /** The descriptor. It is close-on-exec, non-blocking, and yours to close, send, or make a socket of. */
  readonly fd: OwnedFd;
  /** The address of its other end. */
  readonly remote: TcpAddress;
  readonly #peeks = new Set<(error: Error) => void>();

  /** @internal */
  constructor(fd: OwnedFd, remote: TcpAddress) {
    this.fd = fd;
    this.remote = remote;
  }

  /**
   * Returns the first bytes that came, at most `n` (1 to 65536), as soon as there are any. Returns none if the other
   * end has ended without sending. The bytes stay in the kernel, so that whoever gets the descriptor reads them.
   *
   * While it waits, `fd` is lent: it cannot be taken out, and its close waits. Rejects with `ERR_FDPASSER_TIMEOUT`,
   * `ERR_FDPASSER_NOT_OWNED`, `ERR_FDPASSER_CLOSED` (`close()` was called meanwhile), an `AbortError`, or the system's
   * error: `ECONNRESET`, or `EEXIST` if something else in this thread watches the descriptor.
   */
  peek(n: number, options: PeekOptions = {}): Promise<Buffer> {
    return abortable(options, PEEK, (resolve, reject) => {
      const { timeout } = options;
      checkInteger('n', n, 1, MOST);
      if (timeout !== undefined) checkInteger('options.timeout', timeout, 0, MAX_DELAY);
      const bytes = Buffer.allocUnsafe(n);
      ownership.lend(this.fd);
      let watch: Watch | undefined;
      let timer: NodeJS.Timeout | undefined;
      const finish = (): void => {
        this.#peeks.delete(fail);
        clearTimeout(timer);
        if (watch !== undefined) addon.unwatch(watch);
        ownership.endLoan(this.fd);
      };
      const fail = (error: Error): void => {
        if (!this.#peeks.has(fail)) return;
        finish();
        reject(error);
      };
      const look = (events = 0): void => {
        const result = addon.peekBytes(ownership.number(this.fd), bytes);
        if (result === -EAGAIN && events & STOPPED) addon.watchFor(watch!, READABLE);
        if (result === -EAGAIN) return;
        if (result < 0) return fail(systemError(result, 'recv'));
        finish();
        resolve(bytes.subarray(0, result));
      };
      this.#peeks.add(fail);
      look();
      if (!this.#peeks.has(fail)) return () => {};
      try {
        watch = this.#watch(look);
      } catch (error) {
        fail(error as Error);
        return () => {};
      }
      const late = (): void => {
        look(); // a busy event loop calls timers before it tells what has been there for long
        fail(notPeeked(timeout!));
      };
      if (timeout !== undefined) timer = setTimeout(late, timeout);
      return fail;
    });
  }

  #watch(look: (events: number) => void): Watch {
    const watch = addon.watch(ownership.number(this.fd), { ready: look });
    if (typeof watch === 'number') throw systemError(watch, 'epoll_ctl');
    try {
      checked(addon.watchFor(watch, READABLE), 'epoll_ctl');
    } catch (error) {
      addon.unwatch(watch);
      throw error;
    }
    addon.keepAlive(watch, true);
    return watch;
  }

  /** Closes the descriptor, if it is still here. Peeks that wait are rejected. */
  close(): void {
    for (const fail of this.#peeks) fail(closed('connection', 'close() was called'));
    this.fd.close();
  }

  /** `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

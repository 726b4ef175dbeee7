import { constants } from 'node:os';
import { abortable, type Abortable } from '../common/abort.js';
import { checkInteger } from '../common/arguments.js';
import { iterate } from '../common/iterate.js';
import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { ownMade, type OwnedFd } from '../descriptor/owned-fd.js';
import { checked, systemError } from '../errors.js';
import { ADDRESS_BYTES } from '../native/addon.js';
import { kindOf } from '../native/kinds.js';
import { addon, batch } from '../native/load.js';
import { Accepter, Listening } from './listening.js';
import { addressAt, type TcpAddress } from './tcp-address.js';
import { TcpConnection } from './tcp-connection.js';

/** The most connections of one call. */
const MOST = 64;

const { EAFNOSUPPORT, EINVAL } = constants.errno;

/** Where the core leaves addresses. One call uses it at a time. */
const addresses = Buffer.alloc(MOST * ADDRESS_BYTES);

/**
 * A listening TCP socket, made by `listen`, or by `from` of one that somebody else made. It accepts when it is asked
 * to; the rest waits in the kernel's backlog.
 */
export class TcpServer {
  readonly #listening: Listening<TcpConnection[]>;
  readonly #address: TcpAddress;

  /** @internal If it throws, the socket still is in custody. */
  constructor(socket: Custody) {
    checked(addon.tcpName(socket.fd, addresses), 'getsockname');
    this.#address = addressAt(addresses, 0);
    this.#listening = new Listening(`${this.#address.address}:${this.#address.port}`, socket, (listener, { most }) => {
      const accepted = addon.acceptMany(listener, most, addresses);
      if (accepted > 0) this.#listening.deliver(connections(accepted));
      return accepted;
    });
  }

  /**
   * A server over a listening TCP socket that was received, inherited or came from a service manager. It owns the
   * descriptor from now on, and makes it close-on-exec and non-blocking: the latter for all who share the socket.
   *
   * Throws `ENOTSOCK`, `EAFNOSUPPORT` (no TCP socket), `EINVAL` (it does not listen), `EEXIST` (something else in this
   * thread watches it), or as `FdPasser` does for what is no descriptor; nothing has changed hands then.
   */
  static from(fd: FdLike): TcpServer {
    const socket = new Custody('fd', fd);
    try {
      checkListens(socket.fd);
      checked(addon.closeOnExec(socket.fd), 'fcntl');
      checked(addon.setNonblocking(socket.fd), 'fcntl');
      return new this(socket);
    } catch (error) {
      socket.giveBack();
      throw error;
    }
  }

  /** The listening socket, for borrowing (to send it with `keepOpen`, say). `-1` once closed. */
  get fd(): number {
    return this.#listening.socket.fd;
  }

  /** What it is bound to, as `net.Server` tells it; also once it is closed. */
  address(): TcpAddress {
    return { ...this.#address };
  }

  /**
   * The next connection, yours to close. Keeps the event loop alive while it waits.
   * While there is no free descriptor slot, connections wait in the backlog and are accepted when there is one.
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (no connection is lost by it), or the system's error.
   */
  async accept(options: Abortable = {}): Promise<TcpConnection> {
    const [connection] = await this.acceptMany(1, options);
    return connection!;
  }

  /** The connections that wait, 1 to `most` (at most 64), as soon as there is one: as `accept` otherwise. */
  acceptMany(most: number, options: Abortable = {}): Promise<TcpConnection[]> {
    return abortable(options, (resolve, reject) => {
      checkInteger('most', most, 1, MOST);
      return this.#listening.wait(new Accepter(resolve, reject, most));
    });
  }

  /** Connections as they come, until the server is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<TcpConnection> {
    return iterate(
      (signal) => this.accept({ signal }),
      () => this.#listening.closed,
    );
  }

  /**
   * Takes the listening socket out, for another process or `TcpServer.from`: it listens on, and what waits in its
   * backlog waits on. This server is closed. Throws `ERR_FDPASSER_CLOSED`.
   */
  detach(): OwnedFd {
    this.#listening.checkOpen();
    this.#listening.stop();
    return this.#listening.socket;
  }

  /** Stops listening; connections already accepted go on. Closing again does nothing. */
  close(): void {
    if (this.#listening.stop()) this.#listening.close();
  }

  /** `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Those that the core has left: all owned before anything else happens. */
function connections(count: number): TcpConnection[] {
  const fds = Array.from(batch.fd.subarray(0, count), ownMade);
  return fds.map((fd, index) => new TcpConnection(fd, addressAt(addresses, index)));
}

function checkListens(fd: number): void {
  const advice = 'Only a listening TCP socket brings connections, and this is none';
  const listening = checked(addon.listening(fd), 'getsockopt');
  const named = addon.tcpName(fd, addresses);
  if (named < 0) throw systemError(named, 'accept', { advice });
  if (kindOf(addon.kind(fd)) !== 'tcp') throw systemError(-EAFNOSUPPORT, 'accept', { advice });
  if (listening !== 1) throw systemError(-EINVAL, 'accept', { advice });
}

import { constants } from 'node:os';
import { ABORTABLE, abortable, type Abortable } from '../common/abort.js';
import { checkInteger } from '../common/arguments.js';
import { iterate } from '../common/iterate.js';
import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { ownMade, type OwnedFd } from '../descriptor/owned-fd.js';
import { checked, systemError } from '../errors.js';
import { ADDRESS_BYTES } from '../native/addon.js';
import { kindOf } from '../native/kinds.js';
import { addon, batch } from '../native/load.js';
import { Accepter, Feed, Listening, type Feeding } from './listening.js';
import { addressAt, type TcpAddress } from './tcp-address.js';
import { TcpConnection } from './tcp-connection.js';

/** The most connections that one call accepts. */
const MOST = 64;

const { EAFNOSUPPORT, EINVAL } = constants.errno;

/** The core writes addresses here. One call uses it at a time. */
const addresses = Buffer.alloc(MOST * ADDRESS_BYTES);

/**
 * A listening TCP socket. It is made by `listen`, or by `from` for a socket that somebody else made. It accepts a
 * connection only when asked to. The other connections wait in the kernel's backlog.
 */
export class TcpServer {
  readonly #listening: Listening<number>;
  readonly #address: TcpAddress;

  /** @internal If it throws, the custody of the socket has not ended. */
  constructor(socket: Custody) {
    checked(addon.tcpName(socket.fd, addresses), 'getsockname');
    this.#address = addressAt(addresses, 0);
    const name = `${this.#address.address}:${this.#address.port}`;
    this.#listening = new Listening(name, socket, (listener, most, isFeed) => {
      const accepted = addon.acceptMany(listener, most, addresses, isFeed ? 1 : 0);
      if (accepted > 0) this.#listening.deliver(accepted);
      return accepted;
    });
  }

  /**
   * Makes a server of a listening TCP socket that was received, was inherited or came from a service manager. The
   * server owns the descriptor from now on. It makes it close-on-exec, and non-blocking for all who share the socket.
   *
   * Throws `ENOTSOCK`, `EAFNOSUPPORT` (no TCP socket), `EINVAL` (it does not listen), `EEXIST` (something else in this
   * thread watches it), or an error of `FdPasser` for what is no descriptor. The descriptor is then still yours.
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

  /** The number of the listening socket, for borrowing (to send it with `keepOpen`, say). `-1` once closed. */
  get fd(): number {
    return this.#listening.socket.fd;
  }

  /** The address that it is bound to, in the form of `net.Server`. It is known even after closing. */
  address(): TcpAddress {
    return { ...this.#address };
  }

  /**
   * Returns the next connection, which is yours to close. Keeps the event loop alive while it waits. While there is no
   * free descriptor slot, connections stay in the backlog, and are accepted when there is one. Rejects with
   * `ERR_FDPASSER_CLOSED`, an `AbortError` (this loses no connection), or the system's error.
   */
  async accept(options: Abortable = {}): Promise<TcpConnection> {
    const [connection] = await this.acceptMany(1, options);
    return connection!;
  }

  /**
   * Returns the connections that wait, 1 to `most` (at most 64), as soon as there is one. Otherwise the same as
   * `accept`.
   */
  acceptMany(most: number, options: Abortable = {}): Promise<TcpConnection[]> {
    return abortable(options, ABORTABLE, (resolve, reject) => {
      checkInteger('most', most, 1, MOST);
      return this.#listening.wait(new Accepter((count) => resolve(connections(count)), reject, most));
    });
  }

  /**
   * @internal Gives numbers to `take` as they come, while there is room. They get no OwnedFd: `take` owns them, and
   * only trusted processes get them. The array and the addresses of the other ends are valid during the call.
   */
  feed(
    room: () => number,
    take: (fds: Int32Array, address: (index: number) => TcpAddress) => void,
    fail: (error: Error) => void,
  ): Feeding {
    const deliver = (count: number): void => {
      take(batch.fd.subarray(0, count), (index) => addressAt(addresses, index));
    };
    return this.#listening.feed(new Feed(deliver, fail, () => Math.min(room(), MOST)));
  }

  /** The connections as they come, until the server is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<TcpConnection> {
    return iterate(
      (signal) => this.accept({ signal }),
      () => this.#listening.closed,
    );
  }

  /**
   * Takes the listening socket out, for another process or `TcpServer.from`. It is yours to close. It goes on
   * listening, and what is in its backlog stays there. This server is closed. Throws `ERR_FDPASSER_CLOSED` if it was
   * closed before.
   */
  detach(): OwnedFd {
    this.#listening.checkOpen();
    this.#listening.stop();
    return this.#listening.socket;
  }

  /** Stops listening. Connections that were accepted stay open. Closing again does nothing. */
  close(): void {
    if (this.#listening.stop()) this.#listening.close();
  }

  /** `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The connections that the core has accepted. All of them get an owner before anything else happens. */
function connections(count: number): TcpConnection[] {
  const fds = Array.from(batch.fd.subarray(0, count), ownMade);
  return fds.map((fd, index) => new TcpConnection(fd, addressAt(addresses, index)));
}

function checkListens(fd: number): void {
  const advice = 'This is no listening TCP socket: only such a one has connections to accept';
  const listening = checked(addon.listening(fd), 'getsockopt');
  const named = addon.tcpName(fd, addresses);
  if (named < 0) throw systemError(named, 'accept', { advice });
  if (kindOf(addon.kind(fd)) !== 'tcp') throw systemError(-EAFNOSUPPORT, 'accept', { advice });
  if (listening !== 1) throw systemError(-EINVAL, 'accept', { advice });
}

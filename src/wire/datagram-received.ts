import { ABORTABLE, abortable, type Abortable } from '../common/abort.js';
import { checkInteger, type Names } from '../common/arguments.js';
import { borrow, type FdLike } from '../descriptor/fd-like.js';
import { ownReceived, type OwnedFd } from '../descriptor/owned-fd.js';
import { checked, closed, longDatagram } from '../errors.js';
import { addon, batch } from '../native/load.js';
import { LinkOwner } from './link-owner.js';
import { takeSocket } from './socket.js';

export interface ReceiveDatagramOptions extends Abortable {
  /** The most bytes to take. Default 262144, more than Linux lets anybody send unless it is told to. */
  maxBytes?: number | undefined;
}

const RECEIVE: Names<ReceiveDatagramOptions> = { ...ABORTABLE, maxBytes: true };

/** One datagram received. */
export interface Datagram {
  bytes: Buffer;
  /** Yours to close. */
  fds: OwnedFd[];
}

const MAX_BYTES = 262_144;
const MAX_INT32 = 0x7fff_ffff;
const NO_BYTES = new Uint8Array(0);

/** What is received lies here for a moment, so one room of the usual size does for all. */
let usualRoom: Buffer | undefined;

/**
 * The next datagram of a bound or connected AF_UNIX datagram socket, and the descriptors that came beside its bytes,
 * close-on-exec: what a service manager does with its `$NOTIFY_SOCKET`, say. Takes one, and nothing more. Without a free
 * descriptor number the datagram waits in the kernel.
 *
 * The socket stays the caller's. What waits here has a duplicate of it, which closing the socket does not end: `signal`
 * does, and no datagram is lost by that.
 *
 * Rejects with an `AbortError`; with `EMSGSIZE` for a datagram longer than `maxBytes`, which stays in the queue; with
 * `ERR_FDPASSER_CLOSED` when somebody who shares the socket has shut it down; with `EMFILE`; as `FdPasser` throws for
 * what is no AF_UNIX socket, and with `ERR_INVALID_ARG_VALUE` for one that is not for datagrams.
 */
export function receiveDatagram(socket: FdLike, options: ReceiveDatagramOptions = {}): Promise<Datagram> {
  return abortable(options, RECEIVE, (resolve, reject) => {
    const { maxBytes = MAX_BYTES } = options;
    checkInteger('options.maxBytes', maxBytes, 1, MAX_INT32);
    const duplicate = ownReceived(checked(addon.dup(borrow('socket', socket)), 'fcntl'));
    try {
      const session = new ReceivingSession(maxBytes, resolve, reject);
      const terms = { types: ['dgram'], keepBlocking: true } as const;
      takeSocket('socket', duplicate, terms, (custody) => session.start(custody));
      return (error) => session.ended(error);
    } catch (error) {
      duplicate.close();
      throw error;
    }
  });
}

/** One datagram to receive. */
class ReceivingSession extends LinkOwner {
  readonly #maxBytes: number;
  readonly #resolve: (datagram: Datagram) => void;
  readonly #reject: (error: Error) => void;
  #ownRoom: Buffer | undefined;
  #waits = true;

  constructor(maxBytes: number, resolve: (datagram: Datagram) => void, reject: (error: Error) => void) {
    super();
    this.#maxBytes = maxBytes;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get what(): string {
    return 'datagram socket';
  }

  // Nothing is sent.

  get bytes(): Uint8Array {
    return NO_BYTES;
  }

  unsent(): boolean {
    return false;
  }

  fill(): number {
    return 0;
  }

  sent(): void {}

  cannotSend(): boolean {
    return false;
  }

  override mayStillSend(): boolean {
    return false;
  }

  // ---- receiving

  get room(): Buffer {
    if (this.#maxBytes > MAX_BYTES) return (this.#ownRoom ??= Buffer.allocUnsafeSlow(this.#maxBytes));
    usualRoom ??= Buffer.allocUnsafeSlow(MAX_BYTES);
    return usualRoom.subarray(0, this.#maxBytes);
  }

  get stride(): number {
    return this.#maxBytes;
  }

  wanted(): number {
    return this.#waits ? 1 : 0;
  }

  received(): void {
    const fds = Array.from(batch.fd.subarray(0, batch.count[0]), ownReceived);
    const bytes = Buffer.from(this.room.subarray(0, batch.size[0]));
    this.#end();
    this.#resolve({ bytes, fds });
  }

  ended(error?: NodeJS.ErrnoException): void {
    this.#end();
    const { code, syscall } = error ?? {};
    if (code === 'EMSGSIZE' && syscall === 'recvmsg') this.#reject(longDatagram(this.#maxBytes));
    else this.#reject(error ?? closed(this.what, 'somebody who shares it has shut it down'));
  }

  #end(): void {
    this.#waits = false;
    this.link!.destroy();
  }
}

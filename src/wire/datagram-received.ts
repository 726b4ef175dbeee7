import { ABORTABLE, abortable, type Abortable } from '../common/abort.js';
import { checkInteger, type Names } from '../common/arguments.js';
import { borrow, type FdLike } from '../descriptor/fd-like.js';
import { ownReceived, type OwnedFd } from '../descriptor/owned-fd.js';
import { checked, closed, longDatagram } from '../errors.js';
import { addon, batch } from '../native/load.js';
import { LinkOwner } from './link-owner.js';
import { takeSocket } from './socket.js';

export interface ReceiveDatagramOptions extends Abortable {
  /** The most bytes that are accepted. Default 262144, which is more than Linux lets anybody send by default. */
  maxBytes?: number | undefined;
}

const RECEIVE: Names<ReceiveDatagramOptions> = { ...ABORTABLE, maxBytes: true };

/** A received datagram. */
export interface Datagram {
  bytes: Buffer;
  /** The descriptors that came with it, close-on-exec and yours to close. */
  fds: OwnedFd[];
}

const MAX_BYTES = 262_144;
const MAX_INT32 = 0x7fff_ffff;
const NO_BYTES = new Uint8Array(0);

/** Received bytes stay here only until they are copied, so one room of the usual size serves all. */
let usualRoom: Buffer | undefined;

/**
 * Resolves with the next datagram of a bound or connected AF_UNIX datagram socket, and with the descriptors that came
 * beside its bytes. A service manager uses this for its `$NOTIFY_SOCKET`, say. It takes one datagram and nothing more.
 * While there is no free descriptor slot, the datagram stays in the kernel.
 *
 * The socket stays the caller's. While this waits it uses a duplicate of the socket, so closing the socket does not end
 * the wait. `signal` ends it, and that loses no datagram.
 *
 * Rejects with an `AbortError`; with `EMSGSIZE` for a datagram longer than `maxBytes`, which stays in the queue; with
 * `ERR_FDPASSER_CLOSED` if somebody who shares the socket has shut it down; with `EMFILE`; with an error of `FdPasser`
 * for what is no AF_UNIX socket; and with `ERR_INVALID_ARG_VALUE` for a socket of another type.
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

/** The owner of a link that receives one datagram. */
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

  // The following are for sending, and nothing is sent.

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

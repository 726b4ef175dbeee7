import { ABORTABLE, checkSignal, onAbort, type Abortable } from '../common/abort.js';
import { viewOf } from '../common/bytes.js';
import type { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { outgoingAll, type Outgoing } from '../descriptor/outgoing.js';
import { checkBoolean, checkOptions, invalidType, outOfRange, type Names } from '../common/arguments.js';
import { LinkOwner } from './link-owner.js';
import { takeSocket } from './socket.js';
import { MAX_FDS } from '../native/addon.js';
import { batch } from '../native/load.js';
import { connect } from '../endpoint/connect.js';

export interface DatagramOptions extends Abortable {
  /**
   * Whether the descriptors stay open here, and stay the caller's. Default false: they are closed when they are sent.
   */
  keepOpen?: boolean | undefined;
}

const SEND: Names<DatagramOptions> = { ...ABORTABLE, keepOpen: true };

const NO_BYTES = new Uint8Array(0);

/**
 * Sends one datagram, with descriptors beside its bytes, to the socket at `path`: to that of systemd's
 * `$NOTIFY_SOCKET`, say. A path that starts with a NUL is an abstract name, and so is one that starts with `@`, as in
 * that variable. A file of that name is `./@name`. It waits while the receiver's queue is full.
 *
 * Resolves when the datagram is in the receiver's queue. The descriptors are closed here then, unless `keepOpen`.
 * Rejects with an error of `connect`, with `EMSGSIZE` if a datagram cannot hold so many bytes, with
 * `ERR_FDPASSER_UNREAD` for a socket with unread bytes, or with an `AbortError`. The descriptors are then still the
 * caller's.
 */
export async function sendDatagram(
  path: string,
  bytes: Uint8Array,
  fds: readonly FdLike[] = [],
  options: DatagramOptions = {},
): Promise<void> {
  const { keepOpen = false, signal } = checkOptions(options, SEND);
  checkBoolean('options.keepOpen', keepOpen);
  const copy = Buffer.from(viewOf('bytes', bytes)); // the caller may change its bytes meanwhile
  checkSignal(signal);
  await deliver(path, copy, beside(fds, keepOpen ? 'keep' : 'return'), { signal });
}

/** The descriptors that go with the bytes of one datagram. */
export function beside(fds: readonly FdLike[], terms: 'keep' | 'return'): Outgoing[] {
  if (!Array.isArray(fds)) throw invalidType('fds', 'an array of descriptors', fds);
  if (fds.length > MAX_FDS)
    throw outOfRange('fds.length', `<= ${MAX_FDS}, the most that one datagram carries`, fds.length);
  return outgoingAll(fds, terms, true);
}

interface Delivery {
  signal: AbortSignal | undefined;
  /** It is sent when this has resolved. */
  turn?: Promise<unknown>;
  /** Whether the process stays alive while there is no room. Default true. */
  holds?: boolean;
}

/** Sends the datagram, and then does with the descriptors what their terms say. */
export async function deliver(
  path: string,
  bytes: Uint8Array,
  outgoing: Outgoing[],
  { signal, turn, holds = true }: Delivery,
): Promise<void> {
  try {
    await turn;
    const socket = await connect(fromEnvironment(path), { type: 'dgram', signal });
    await transmit(socket, new DatagramSession(bytes, outgoing, holds), signal);
  } catch (error) {
    for (const fd of outgoing) fd.unsent();
    throw error;
  }
  for (const fd of outgoing) fd.letGo();
}

/**
 * An environment variable cannot contain a NUL, so a service manager writes "@" for the NUL of an abstract name
 * (sd_notify(3)).
 */
function fromEnvironment(path: string): string {
  return typeof path === 'string' && path.startsWith('@') ? `\0${path.slice(1)}` : path;
}

/** Sends one message over a link of its own, which is closed afterwards. */
function transmit(socket: OwnedFd, session: DatagramSession, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    session.whenOver = (error) => {
      stop();
      if (error === undefined) resolve();
      else reject(error);
    };
    try {
      checkSignal(signal); // it may have aborted since the socket was connected
      takeSocket('socket', socket, { types: ['dgram'] }, (custody) => session.start(custody));
    } catch (error) {
      socket.close();
      throw error;
    }
    const stop = onAbort(signal, (error) => session.ended(error));
  });
}

/** The owner of a link that sends one datagram. */
class DatagramSession extends LinkOwner {
  readonly bytes: Uint8Array;
  readonly #fds: Outgoing[];
  readonly #holds: boolean;
  whenOver: (error?: Error) => void = () => {};

  constructor(bytes: Uint8Array, fds: Outgoing[], holds: boolean) {
    super();
    this.bytes = bytes;
    this.#fds = fds;
    this.#holds = holds;
  }

  override start(socket: Custody): void {
    super.start(socket);
    this.link!.send();
  }

  get what(): string {
    return 'datagram socket';
  }

  unsent(): boolean {
    return true;
  }

  override holds(): boolean {
    return this.#holds;
  }

  fill(): number {
    if (!this.#fds.every((fd) => fd.ready(this.link!))) return 0;
    const refusal = this.#fds.find((fd) => fd.refusal !== undefined)?.refusal;
    if (refusal !== undefined) {
      this.ended(refusal);
      return 0;
    }
    batch.size[0] = this.bytes.length;
    batch.count[0] = this.#fds.length;
    batch.fd.set(this.#fds.map((fd) => fd.number));
    return 1;
  }

  sent(): void {
    this.ended();
  }

  override refused(error: Error): boolean {
    this.ended(error);
    return true;
  }

  cannotSend(error: Error): boolean {
    this.ended(error);
    return true;
  }

  // The following are for receiving, and nothing is received.

  get room(): Uint8Array {
    return NO_BYTES;
  }

  get stride(): number {
    return 0;
  }

  wanted(): number {
    return 0;
  }

  received(): void {}

  ended(error?: Error): void {
    this.link!.destroy();
    this.whenOver(error);
  }
}

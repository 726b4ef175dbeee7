import { Queued } from '../common/queue.js';
import type { Sender as Waiter } from '../descriptor/node-object.js';
import { outgoing, type Outgoing } from '../descriptor/outgoing.js';
import { ownReceived } from '../descriptor/owned-fd.js';
import { detached, noRequests, tooLarge, tooMuchUnread } from '../errors.js';
import { addon } from '../native/load.js';
import { linkError } from '../wire/link-error.js';
import {
  bodyLength,
  encodeBody,
  encodeMessage,
  REPLY,
  REQUEST,
  REQUESTS,
  UNREAD,
  UNREAD_BYTES,
  unreadLength,
  windowSize,
  type Frame,
  type Hello,
  type Unread,
} from './frames.js';
import type { Message } from './message.js';

/** What is sent. A reply has the number of its request from the start. A request gets its number when it departs. */
type Kind = 'message' | 'request' | 'reply';

const FLAG: Readonly<Record<Kind, number>> = { message: 0, request: REQUEST, reply: REPLY };

export interface Order {
  kind: Kind;
  number?: number;
  /** Whether its sender waits to be told that it was taken. */
  confirm?: boolean;
  /** Called when it has succeeded and has let go of its descriptors. A request is given its reply. */
  resolve: (reply?: Message) => void;
  reject: (error: Error) => void;
}

/** A message on its way out. Its value is encoded once, when this is made. */
export class Departing extends Queued {
  /**
   * `'aboard'`: it is part of a shipment. `'abandoned'`: the same, but its sender no longer waits. `'sent'`: the kernel
   * has all of it. `'settled'`: its sender was told the result.
   */
  state: 'queued' | 'aboard' | 'abandoned' | 'sent' | 'settled' = 'queued';
  /** How many messages its channel had queued before it. */
  order = 0;
  readonly kind: Kind;
  /** The number of the request that it is, or that it replies to. */
  number: number | undefined;
  fds: readonly Outgoing[];
  readonly confirm: boolean;
  /** Why its sender no longer waits, if it could not be given back at that time. */
  overdue: Error | undefined;
  /** What it counts against the peer's window in bytes, as of the last call of `refusal`. */
  size = 0;
  /** The bytes may be the caller's memory, which the caller may use again when they are sent. */
  readonly #value: Buffer;
  readonly #valueLength: number;
  #unread: readonly Unread[] = NONE;
  readonly #resolve: (reply?: Message) => void;
  readonly #reject: (error: Error) => void;

  constructor(value: Buffer, fds: readonly Outgoing[], { kind, number, confirm = false, resolve, reject }: Order) {
    super();
    this.kind = kind;
    this.number = number;
    this.fds = fds;
    this.confirm = confirm;
    this.#value = value;
    this.#valueLength = value.length;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Whether it can depart now. If not, `waiter` is called when that may have changed. */
  ready(waiter: Waiter): boolean {
    return this.fds.every((fd) => fd.ready(waiter));
  }

  /**
   * Computes its size, with the bytes that were read from its sockets so far. Returns why it must not depart, if so.
   */
  refusal({ capabilities, maxMessageBytes, maxFds }: Hello): Error | undefined {
    if (this.kind === 'request' && !(capabilities & REQUESTS)) return noRequests();
    if (this.#value.length !== this.#valueLength) return detached();
    const refused = this.fds.find((fd) => fd.refusal !== undefined);
    if (refused !== undefined) return refused.refusal;
    this.#unread = unreadOf(this.fds);
    this.size = windowSize(bodyLength(this.#valueLength, this.kind !== 'message', this.#unread));
    const unread = unreadLength(this.#unread);
    if (this.#valueLength > maxMessageBytes)
      return tooLarge(`${this.#valueLength} bytes`, maxMessageBytes, 'maxMessageBytes');
    if (unread > UNREAD_BYTES) return tooMuchUnread(unread, UNREAD_BYTES);
    if (this.fds.length > maxFds) return tooLarge(`${this.fds.length} descriptors`, maxFds, 'maxFds');
    return undefined;
  }

  /** An error for the first of its descriptors that the kernel would refuse. */
  badDescriptor(): Error | undefined {
    const result = this.fds.map((fd) => addon.check(fd.number)).find((result) => result < 0);
    return result === undefined ? undefined : linkError(result, 'sendmsg');
  }

  /** Makes it depart, with the size that `refusal` has computed. Returns its frames, which are views of its bytes. */
  depart(): Frame[] {
    this.state = 'aboard';
    for (const fd of this.fds) fd.depart();
    const body = encodeBody(this.#value, { number: this.number, unread: this.#unread });
    return encodeMessage(body, this.fds.length, FLAG[this.kind] | (this.#unread.length > 0 ? UNREAD : 0));
  }

  /** Ends it with success: it was sent, was taken, or got its reply. */
  settle(reply?: Message): void {
    this.letGo();
    this.#resolve(reply);
  }

  /** Ends it with an error. Its descriptors are its sender's again. */
  giveBack(error: Error): void {
    this.state = 'settled';
    for (const fd of this.fds) fd.unsent();
    this.#reject(error);
  }

  /** Ends the need for its descriptors here. */
  letGo(): void {
    this.state = 'settled';
    for (const fd of this.fds) fd.letGo();
  }

  /**
   * Ends the wait of its sender, although its shipment cannot go without it. Copies of its descriptors are sent
   * instead, and its sender has the originals again. Returns the copies. Returns `undefined`, and changes nothing, if
   * they cannot be made.
   */
  abandon(error: Error): readonly Outgoing[] | undefined {
    const copies = copiesOf(this.fds);
    if (copies === undefined) return undefined;
    this.giveBack(error);
    this.fds = copies;
    this.state = 'abandoned';
    return copies;
  }
}

const NONE: readonly Unread[] = [];

function unreadOf(fds: readonly Outgoing[]): readonly Unread[] {
  let found: Unread[] | undefined;
  for (let index = 0; index < fds.length; index++) {
    const bytes = fds[index]!.unread;
    if (bytes !== undefined) (found ??= []).push({ index, bytes });
  }
  return found ?? NONE;
}

/**
 * Copies all descriptors. The copies are closed when they are sent. Returns `undefined` if not all can be copied,
 * because no number is free, say.
 */
function copiesOf(fds: readonly Outgoing[]): Outgoing[] | undefined {
  const copies: Outgoing[] = [];
  for (const { number } of fds) {
    const copy = addon.dup(number);
    if (copy < 0) {
      for (const made of copies) made.letGo();
      return undefined;
    }
    copies.push(outgoing(ownReceived(copy), 'close', false));
  }
  return copies;
}

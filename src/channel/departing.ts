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

/** A reply has its request's number from the start; a request gets one when it departs. */
type Kind = 'message' | 'request' | 'reply';

const FLAG: Readonly<Record<Kind, number>> = { message: 0, request: REQUEST, reply: REPLY };

export interface Order {
  kind: Kind;
  number?: number;
  /** Whether its sender waits for word that it was taken. */
  confirm?: boolean;
  /** Its descriptors were its sender's until now; with a request, the reply is told. */
  resolve: (reply?: Message) => void;
  reject: (error: Error) => void;
}

/** A message on its way out. Its value is encoded once, when it comes here. */
export class Departing extends Queued {
  /**
   * `'aboard'`: part of a shipment. `'abandoned'`: the same, but its sender waits no more. `'sent'`: the kernel has it
   * whole. `'settled'`: its sender was told what became of it.
   */
  state: 'queued' | 'aboard' | 'abandoned' | 'sent' | 'settled' = 'queued';
  /** How many its channel had queued before. */
  order = 0;
  readonly kind: Kind;
  /** Of the request that it is, or replies to. */
  number: number | undefined;
  fds: readonly Outgoing[];
  readonly confirm: boolean;
  /** Why its sender waits no more, where it could not be given back yet. */
  overdue: Error | undefined;
  /** What it counts against the peer's window, as it was last looked at. */
  size = 0;
  /** Its bytes are the caller's again when it was sent. */
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

  /** Whether it can depart now; if not, `waiter` is told when that may have changed. */
  ready(waiter: Waiter): boolean {
    return this.fds.every((fd) => fd.ready(waiter));
  }

  /** Weighs it as it is now, with what was read from its sockets so far, and says why it must not depart. */
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

  /** The first of its descriptors that the kernel would refuse, as an error. */
  badDescriptor(): Error | undefined {
    const result = this.fds.map((fd) => addon.check(fd.number)).find((result) => result < 0);
    return result === undefined ? undefined : linkError(result, 'sendmsg');
  }

  /** It departs now, as it was weighed. The frames are views of its bytes. */
  depart(): Frame[] {
    this.state = 'aboard';
    for (const fd of this.fds) fd.depart();
    const body = encodeBody(this.#value, { number: this.number, unread: this.#unread });
    return encodeMessage(body, this.fds.length, FLAG[this.kind] | (this.#unread.length > 0 ? UNREAD : 0));
  }

  /** It has arrived, or was answered. */
  settle(reply?: Message): void {
    this.letGo();
    this.#resolve(reply);
  }

  /** It has not, and its descriptors are its sender's again. */
  giveBack(error: Error): void {
    this.state = 'settled';
    for (const fd of this.fds) fd.unsent();
    this.#reject(error);
  }

  /** Nobody needs its descriptors here any more. */
  letGo(): void {
    this.state = 'settled';
    for (const fd of this.fds) fd.letGo();
  }

  /**
   * Its sender waits no more, but its shipment cannot go without it: copies of its descriptors travel, and they
   * themselves are its sender's again. Returns what travels in place of what; `undefined` when no copies can be made,
   * and nothing has changed then.
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

/** Copies of all of them, closed once they are sent; or none, for want of numbers, say. */
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

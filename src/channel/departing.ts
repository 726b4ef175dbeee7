import { Queued } from '../common/queue.js';
import type { Sender as Waiter } from '../descriptor/node-object.js';
import type { Outgoing } from '../descriptor/outgoing.js';
import { detached, tooLarge, tooMuchUnread } from '../errors.js';
import { addon } from '../native/load.js';
import { linkError } from '../wire/link-error.js';
import {
  bodyLength,
  encodeBody,
  encodeMessage,
  UNREAD,
  UNREAD_BYTES,
  unreadLength,
  windowSize,
  type Frame,
  type Hello,
  type Unread,
} from './frames.js';

/** A message on its way out. Its value is encoded once, when it comes here. */
export class Departing extends Queued {
  /** `'aboard'`: part of a shipment. `'sent'`: the kernel has it whole. `'settled'`: its sender was told what became of it. */
  state: 'queued' | 'aboard' | 'sent' | 'settled' = 'queued';
  readonly fds: readonly Outgoing[];
  readonly confirm: boolean;
  /** What it counts against the peer's window, as it was last looked at. */
  size = 0;
  /** Its bytes are the caller's again when it was sent. */
  readonly #value: Buffer;
  readonly #valueLength: number;
  #unread: readonly Unread[] = NONE;
  readonly #resolve: () => void;
  readonly #reject: (error: Error) => void;

  constructor(
    value: Buffer,
    fds: readonly Outgoing[],
    confirm: boolean,
    resolve: () => void,
    reject: (error: Error) => void,
  ) {
    super();
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
  refusal({ maxMessageBytes, maxFds }: Hello): Error | undefined {
    if (this.#value.length !== this.#valueLength) return detached();
    const refused = this.fds.find((fd) => fd.refusal !== undefined);
    if (refused !== undefined) return refused.refusal;
    this.#unread = unreadOf(this.fds);
    this.size = windowSize(bodyLength(this.#valueLength, this.#unread));
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
    return encodeMessage(encodeBody(this.#value, this.#unread), this.fds.length, this.#unread.length > 0 ? UNREAD : 0);
  }

  /** It has arrived. */
  settle(): void {
    this.state = 'settled';
    for (const fd of this.fds) fd.letGo();
    this.#resolve();
  }

  /** It has not, and its descriptors are its sender's again. */
  giveBack(error: Error): void {
    this.state = 'settled';
    for (const fd of this.fds) fd.unsent();
    this.#reject(error);
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

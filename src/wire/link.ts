import { constants } from 'node:os';
import type { Custody } from '../descriptor/custody.js';
import { shortageOf, UNKNOWN, warnFull, warnHopeless, type Shortage } from '../descriptor/shortage.js';
import { SlotRetry } from '../descriptor/slot-retry.js';
import { growTable, prepareTable, roomFor } from '../descriptor/table.js';
import { checked, denied, systemError } from '../errors.js';
import { Counters, receivedInBatch, sentInBatch, type WireStats } from './counters.js';
import { linkError, PEER_GONE } from './link-error.js';
import type { LinkOwner } from './link-owner.js';
import { FIRST_PACE, nextPace, now, TURN } from './pace.js';
import { checkSocket } from './socket.js';
import { traces, type Source, type WaitEvent } from './trace.js';
import { MAX_FDS, MAX_MESSAGES, READABLE, STOPPED, WRITABLE, type Watch } from '../native/addon.js';
import type { SocketType } from '../native/kinds.js';
import { addon, batch, receive } from '../native/load.js';

const { EACCES, EAGAIN, EBADF, ECONNRESET, EINVAL, EMFILE, EMSGSIZE, ENFILE, ENOBUFS, ENOMEM, ENOTCONN, EPERM, EPIPE } =
  constants.errno;
/** Missing in Node's `os.constants`: too many descriptors of this user are in flight (unix(7)). */
const ETOOMANYREFS = 109;

// Milliseconds between two checks.
const GROWTH_CHECK = 2;
const MEMORY_CHECK = 50;
const LOOK = 500;
// The socket stays writable while too many descriptors are in flight, and no event tells when the receiver has taken
// some. So sending is tried again after some time.
const FIRST_BACK_OFF = 2;
const LONGEST_BACK_OFF = 100;

/**
 * One AF_UNIX socket. It transfers messages in both directions at once, in order, without loss and without blocking.
 *
 * It receives only while its owner wants something. It sends what its owner has at the end of the tick. It keeps the
 * process alive only while it waits to send or to receive. An idle link still notices the end of its peer.
 */
export class Link {
  readonly #socket: Custody;
  readonly #fd: number;
  readonly #attached: number;
  readonly #owner: LinkOwner;
  readonly #type: SocketType;
  #watch: Watch | undefined;
  #mask = 0;
  #alive = false;

  #sending: 'idle' | 'scheduled' | 'blocked' | 'backing-off' | 'over' = 'idle';
  /** Milliseconds that it has sent in this turn of the event loop. */
  #spent = 0;
  #backOff = FIRST_BACK_OFF;
  #sendTimer: NodeJS.Timeout | undefined;
  #lookTimer: NodeJS.Timeout | undefined;

  /**
   * `'unasked'`: something is there, but nobody wants it yet. `'waiting'`: it waits for a free slot, for the table to
   * grow, or for the next turn.
   */
  #receiving: 'open' | 'unasked' | 'waiting' | 'over' = 'open';
  /** Made when the link waits for the first time. */
  #retry: SlotRetry | undefined;
  /** The number of descriptors in the last message received. The next messages are likely to have as many. */
  #expected = 1;
  /** About how many descriptors one receive may bring. */
  #pace = FIRST_PACE;

  /** Made when there is something to count. */
  #counters: Counters | undefined;
  /** The error that broke the connection. It is kept back until everything that was sent before has been received. */
  #fate: Error | undefined;

  /**
   * Takes the socket over, unless it throws. It throws what `checkSocket` throws, or `EEXIST` if this event loop
   * watches the socket already.
   */
  constructor(socket: Custody, owner: LinkOwner) {
    this.#socket = socket;
    this.#fd = socket.fd;
    this.#owner = owner;
    this.#type = checkSocket(this.#fd);
    this.#attached = checked(addon.attach(this.#fd), 'setsockopt');
    const watch = addon.watch(this.#fd, this);
    if (typeof watch === 'number') {
      addon.detach(this.#fd, this.#attached);
      throw systemError(watch, 'epoll_ctl', { advice: 'Is the socket in use elsewhere?' });
    }
    this.#watch = watch;
    socket.keep();
    prepareTable();
    this.#settle();
  }

  /** To be called when the owner has something to send, or no longer has. */
  send(): void {
    if (this.#watch === undefined) return;
    if (this.#sending !== 'idle' && (this.#sending !== 'blocked' || this.#owner.unsent())) return;
    if (this.#spent < TURN) {
      this.#sending = 'scheduled';
      process.nextTick(() => this.#flush());
    } else this.#flushNextTurn();
  }

  /**
   * Sends at once what the owner has, if the kernel has room. It is for a process that exits, whose event loop may not
   * turn again.
   */
  sendNow(): void {
    if (this.#sending === 'idle' || this.#sending === 'scheduled') this.#flush();
  }

  /** To be called when the owner wants more than before, or less. */
  receive(): void {
    if (this.#receiving === 'unasked' && this.#owner.wanted() > 0) this.#receiving = 'open';
    this.#settle();
  }

  /** Receives what is there, without waiting for an event. */
  receiveNow(): void {
    if (this.#watch === undefined || this.#receiving === 'over') return;
    this.#retry?.stop();
    if (this.#receiving === 'waiting') this.#goOn();
    else this.ready(READABLE);
  }

  /** Tells the peer that nothing more will be sent. It can go on sending. */
  endSending(): void {
    if (this.#watch === undefined) return;
    const result = addon.endSending(this.#fd);
    // ENOTCONN: the peer has ended. The receive or the next send will tell more.
    if (result < 0 && result !== -ENOTCONN) this.#over(systemError(result, 'shutdown'));
  }

  /** Ends the link if somebody else has closed the socket. No event would tell that. */
  check(): void {
    if (this.#watch !== undefined && !this.#isSocket) this.#overLater();
  }

  /** What it has carried. It can be read after the end too. */
  get carried(): WireStats {
    return Object.assign({}, this.#counters ?? new Counters());
  }

  #count(): Counters {
    return (this.#counters ??= new Counters());
  }

  /** Stops at once and closes the socket. The owner is not told. `error` is the reason, for the trace. */
  destroy(error?: Error): void {
    if (this.#watch === undefined) return;
    const { end } = traces();
    if (end.on) end.tell({ ...this.#source(), error });
    addon.unwatch(this.#watch);
    this.#watch = undefined;
    clearTimeout(this.#sendTimer);
    clearTimeout(this.#lookTimer);
    this.#retry?.stop();
    addon.detach(this.#fd, this.#attached);
    this.#socket.close();
  }

  /** Called by the core with what has happened to the socket. */
  ready(events: number): void {
    this.#spent = 0;
    if (events & STOPPED) this.#mask = 0;
    // Nobody waits for the room that there is now.
    const surplus = this.#sending === 'blocked' ? 0 : events & WRITABLE;
    try {
      if (events & WRITABLE && this.#sending === 'blocked') this.#flush();
      if (events & READABLE && (this.#receiving === 'open' || this.#receiving === 'unasked')) this.#take();
    } finally {
      this.#settle(surplus);
    }
  }

  // ---- sending

  #flush(): void {
    if (this.#watch === undefined || this.#sending === 'over') return;
    this.#sending = 'idle';
    let more = true;
    const began = now();
    let time = began;
    try {
      while (more && this.#sending === 'idle' && this.#watch !== undefined && time < began + TURN)
        if ((more = this.#sendSome())) time = now();
    } finally {
      this.#spent += time - began;
      // There is more to send, but this turn was long enough, or a callback threw.
      if (more && this.#sending === 'idle' && this.#watch !== undefined) this.#flushNextTurn();
      this.#settle();
    }
    if (more) return;
    if (this.#receiving === 'over') this.#endOfBoth();
    else if (this.#owner.unsent()) this.check();
  }

  #flushNextTurn(): void {
    this.#sending = 'scheduled';
    setImmediate(() => {
      this.#spent = 0;
      this.#flush();
    });
  }

  /** Returns whether there may be more to send. */
  #sendSome(): boolean {
    const messages = this.#owner.fill();
    if (messages === 0) return false;
    const result = addon.send(this.#fd, this.#owner.bytes, messages);
    if (result > 0) {
      this.#backOff = FIRST_BACK_OFF;
      const tail = batch.tail[0]!;
      // The kernel has no room for the rest, or reports at the next call what is wrong with it. Writable comes then.
      if (result < messages || tail < batch.size[result - 1]!) this.#blocked();
      this.#count().sent(result, tail);
      const { send } = traces();
      if (send.on) send.tell({ ...this.#source(), ...sentInBatch(result, tail) });
      this.#owner.sent(result, tail);
    } else this.#sendFailed(-result);
    return true;
  }

  #sendFailed(errno: number): void {
    switch (errno) {
      case EAGAIN:
        this.#blocked();
        return;
      case ETOOMANYREFS:
      case ENOBUFS:
      case ENOMEM:
        this.#sending = 'backing-off';
        this.#sendTimer = setTimeout(() => this.#flush(), this.#backOff);
        this.#backOff = Math.min(this.#backOff * 2, LONGEST_BACK_OFF);
        this.#sendWaits(errno === ETOOMANYREFS ? 'too many descriptors in flight' : 'no memory');
        return;
      case EBADF:
        if (!this.#isSocket) {
          this.#overLater();
          return;
        }
      // falls through
      case EINVAL:
      case EMSGSIZE:
      case EPERM:
        if (this.#owner.refused(linkError(-errno, 'sendmsg'))) return;
    }
    this.#cannotSend(linkError(-errno, 'sendmsg'), PEER_GONE.has(errno));
  }

  #blocked(): void {
    this.#sending = 'blocked';
    this.#sendWaits('the peer has no room');
  }

  #sendWaits(reason: WaitEvent['reason']): void {
    this.#count().sendWaits++;
    const { wait } = traces();
    if (wait.on) wait.tell({ ...this.#source(), direction: 'send', reason });
  }

  #cannotSend(error: Error, peerGone: boolean): void {
    this.#sending = 'over';
    const loses = this.#owner.cannotSend(error);
    if (loses || !peerGone) this.#fate ??= error;
    if (this.#receiving === 'over') this.#over(this.#fate);
    else this.#endIfDrained();
  }

  /** Ends a link that cannot send any more, when everything that the peer has sent so far was received. */
  #endIfDrained(): void {
    if (this.#sending !== 'over' || this.#receiving === 'waiting' || this.#watch === undefined) return;
    const found = this.#look();
    // Nothing is there, and no end either: the peer has only shut down its reading, or is about to end, or these are
    // datagrams.
    if (found === -EAGAIN) this.#over(this.#fate);
    else if (found <= 0) this.#nothingReceived(found);
  }

  // ---- receiving

  #take(): void {
    try {
      if (this.#owner.wanted() > 0) this.#takeForATurn();
      else this.#lookForEnd();
    } finally {
      this.#endIfDrained();
    }
  }

  #takeForATurn(): void {
    const began = now();
    let time: number | undefined = began;
    do if ((time = this.#takeSome(time)) === undefined) return;
    while (this.#mayTakeMore() && time < began + TURN);
    if (this.#mayTakeMore()) this.#rest();
  }

  /**
   * Pauses until the event loop has turned. Without this, the poller that has a thread would report the socket again at
   * once.
   */
  #rest(): void {
    this.#receiving = 'waiting';
    setImmediate(() => this.#goOn());
  }

  /**
   * Whether to receive again in this turn. If something was queued to be sent meanwhile, that goes first, because the
   * peer may be waiting for it.
   */
  #mayTakeMore(): boolean {
    return this.#watch !== undefined && this.#sending !== 'scheduled' && this.#owner.wanted() > 0;
  }

  /** Looks for the end of the peer while nobody wants to receive. Anything else stays in the kernel. */
  #lookForEnd(): void {
    if (this.#receiving !== 'open') return;
    const found = this.#look();
    if (found > 0) this.#receiving = 'unasked';
    else this.#nothingReceived(found);
  }

  /** Is given the time, and returns the time afterwards, or `undefined` if there is nothing more to receive. */
  #takeSome(began: number): number | undefined {
    const wanted = this.#owner.wanted();
    const expected = this.#expected;
    const { room, stride } = this.#owner;
    let messages = Math.min(
      this.#type === 'stream' ? MAX_MESSAGES : 1,
      room.length / stride,
      Math.ceil(wanted / expected),
      Math.ceil(this.#pace / expected),
    );
    const needed = MAX_FDS + (messages - 1) * expected;
    const slots = roomFor(needed);
    if (slots < needed) messages = 1;
    const most = Math.min(wanted, MAX_MESSAGES * MAX_FDS);
    const result = slots < 1 ? -EMFILE : receive(this.#fd, room, stride, messages, most, expected, slots);
    if (result > 0) {
      this.#expected = Math.max(1, batch.count[result - 1]!);
      this.#notFull();
      this.#count().received(result);
      const { receive: trace } = traces();
      if (trace.on) trace.tell({ ...this.#source(), ...receivedInBatch(result) });
      this.#owner.received(result);
      const ended = now();
      this.#pace = nextPace(this.#pace, ended - began, result === messages);
      return ended;
    }
    if (result === -ECONNRESET) {
      // The peer has ended without reading everything from here. What it had sent before can still be received.
      this.#fate ??= linkError(result, 'recvmsg');
      return began;
    }
    if (result === -EMFILE && slots < MAX_FDS) {
      growTable();
      this.#waiting().after(GROWTH_CHECK);
    } else this.#nothingReceived(result);
    return undefined;
  }

  #nothingReceived(result: number): void {
    switch (-result) {
      case 0:
        this.#notFull(); // somebody else has taken the message for which there was no room
        this.#endOfPeer();
        return;
      case EAGAIN:
        this.#notFull();
        // Datagrams end if somebody who shares the socket shuts it down, but a receive does not report that.
        if (this.#type === 'dgram' && this.#look() === 0) this.#endOfPeer();
        return;
      case EMFILE:
      case ENFILE:
        this.#exhausted();
        return;
      case ENOBUFS:
      case ENOMEM:
        this.#waiting().after(MEMORY_CHECK);
        this.#receiveWaits('no memory');
        return;
      case EACCES:
        this.#over(this.#fate ?? denied());
        return;
      default:
        this.#over(this.#fate ?? linkError(result, 'recvmsg'));
    }
  }

  #exhausted(): void {
    const retry = this.#waiting();
    const first = retry.full();
    if (first) this.#receiveWaits('no free descriptor slot');
    const shortage = this.#lookAtShortage(retry);
    const what = `What was sent to a ${this.#owner.what}`;
    if (first) this.#owner.exhausted(() => shortage?.hopeless || warnFull(what, shortage ?? UNKNOWN));
    if (!shortage?.hopeless || retry.hopeless) return;
    retry.hopeless = true;
    this.#owner.hopeless();
    warnHopeless(what, shortage);
  }

  #receiveWaits(reason: WaitEvent['reason']): void {
    this.#count().receiveWaits++;
    const { wait } = traces();
    if (wait.on) wait.tell({ ...this.#source(), direction: 'receive', reason });
  }

  /** Looks only every LOOK milliseconds, because that takes longer than a receive. */
  #lookAtShortage(retry: SlotRetry): Shortage | undefined {
    const time = now();
    if (time < retry.lookAgain) return undefined;
    retry.lookAgain = time + LOOK;
    return shortageOf(this.#fd, this.#owner.room);
  }

  #notFull(): void {
    if (this.#retry?.room() !== true) return;
    this.#retry.hopeless = false;
    this.#owner.resumed();
  }

  #waiting(): SlotRetry {
    this.#receiving = 'waiting';
    return (this.#retry ??= new SlotRetry(() => this.#goOn()));
  }

  /** Receives again after a wait. */
  #goOn(): void {
    if (this.#watch === undefined || this.#receiving !== 'waiting') return;
    this.#receiving = 'open';
    try {
      this.#take();
    } finally {
      this.#settle();
    }
  }

  /** Says what a receive would find: 1 for something, 0 for the end, or a negative errno. */
  #look(): number {
    let found = addon.pending(this.#fd);
    if (found === -ECONNRESET) {
      this.#fate ??= linkError(found, 'recvmsg');
      found = addon.pending(this.#fd);
    }
    return found;
  }

  #endOfPeer(): void {
    this.#receiving = 'over';
    this.#owner.peerEnded();
    if (this.#fate !== undefined || this.#sending === 'over') this.#over(this.#fate);
    else this.#endOfBoth();
  }

  /**
   * The peer sends nothing more. It may have closed that direction alone, so what waits is still sent, unless the peer
   * has ended altogether.
   */
  #endOfBoth(): void {
    if (!this.#owner.mayStillSend()) this.#over(this.#fate);
    else this.#endIfHungUp();
  }

  /**
   * Ends the link if the peer has ended both directions. While the first in the queue is not ready, nothing is sent,
   * and so no send tells this.
   */
  #endIfHungUp(): void {
    if (this.#watch === undefined || this.#sending !== 'idle' || !this.#owner.unsent()) return;
    if (addon.hungUp(this.#fd) !== 0) this.#cannotSend(linkError(-EPIPE, 'sendmsg'), true);
  }

  /** Ends the link in the next tick, and not during the call of somebody who has just asked for something. */
  #overLater(): void {
    process.nextTick(() => this.#over(linkError(-EBADF, 'recvmsg')));
  }

  /**
   * Whether the number is still a socket: somebody else may have closed it. libuv aborts if it is told to watch what
   * cannot be watched.
   */
  get #isSocket(): boolean {
    return addon.isSocket(this.#fd) === 1;
  }

  #over(error: Error | undefined): void {
    if (this.#watch === undefined) return;
    this.destroy(error);
    this.#owner.ended(error);
  }

  /** Describes this link for the traces. */
  #source(): Source {
    return { source: this.#owner.emitter, what: this.#owner.what, socket: this.#fd };
  }

  /**
   * Updates from the state what is watched, and whether the link keeps the process alive. It goes on watching for room
   * until that comes without need (`surplus`), because a sender that has filled the socket is likely to fill it again.
   */
  #settle(surplus = 0): void {
    if (this.#watch === undefined) return;
    const needed = (this.#receiving === 'open' ? READABLE : 0) | (this.#sending === 'blocked' ? WRITABLE : 0);
    const mask = needed | (this.#mask & WRITABLE & ~surplus);
    if (mask !== this.#mask) {
      if (this.#isSocket && addon.watchFor(this.#watch, mask) >= 0) this.#mask = mask;
      else this.#overLater();
    }
    const awaits = this.#owner.awaits();
    const alive = (this.#sending === 'blocked' && this.#owner.holds()) || (this.#receiving === 'open' && awaits);
    if (alive !== this.#alive) {
      addon.keepAlive(this.#watch, alive);
      this.#alive = alive;
    }
    this.#retry?.keepAlive(awaits);
    const waits = this.#sending === 'blocked' || this.#sending === 'idle';
    if (waits && this.#owner.unsent()) this.#lookTimer ??= setTimeout(() => this.#lookAfter(), LOOK).unref();
  }

  /** Checks what no event tells, while something waits to be sent. */
  #lookAfter(): void {
    this.#lookTimer = undefined;
    if (!this.#isSocket) this.#over(linkError(-EBADF, 'recvmsg'));
    else this.#endIfHungUp();
    this.#settle();
  }
}

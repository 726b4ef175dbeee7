import { afterReading } from '../common/timers.js';
import type { FdChannel } from '../channel/channel.js';
import type { Message } from '../channel/message.js';
import { OwnedFd } from '../descriptor/owned-fd.js';
import { stepTimedOut, takeoverPeerGone, takeoverProtocol } from '../errors.js';
import type { FromPredecessor, FromSuccessor, Step } from './messages.js';
import { trace } from './trace.js';

/** A message with what came beside it, which the receiver closes. */
export interface Heard<In> {
  message: In;
  fds: OwnedFd[];
}

/** One end of the conversation of two processes. Each error says at which step it happened, and with which process. */
export class Conversation<In extends FromPredecessor | FromSuccessor, Out extends FromPredecessor | FromSuccessor> {
  readonly channel: FdChannel;
  readonly pid: number | undefined;
  readonly #read: (value: unknown) => In | undefined;

  constructor(channel: FdChannel, pid: number | undefined, read: (value: unknown) => In | undefined) {
    this.channel = channel;
    this.pid = pid;
    this.#read = read;
    channel.on('unreadable', () => {}); // ignored: the step's time runs on
  }

  /** Sends a message and does not wait. If the other process has gone, the wait for its answer finds that out. */
  say(message: Out): void {
    this.#trace('to', message);
    this.channel.send(message).catch(() => {});
  }

  /** Hands connections over. Resolves when the other process has all; rejects when it has none, and never will. */
  carry(message: Out, fds: OwnedFd[]): Promise<void> {
    return this.channel.send(message, fds, { confirm: true });
  }

  /**
   * Sends a message and resolves when the other process has taken it. `fds` are closed here in any case, possibly after
   * this rejects.
   */
  async deliver(message: Out, fds: OwnedFd[], timeout: number): Promise<void> {
    this.#trace('to', message);
    const sent = this.channel.send(message, fds, { confirm: true });
    sent.catch(() => OwnedFd.closeAll(fds));
    await this.#within(sent, stepOf(message), timeout);
  }

  /** Resolves with the next message, which must come within `timeout` milliseconds. */
  async hear(step: Step, timeout: number): Promise<Heard<In>> {
    const left = timeout === Infinity ? undefined : new AbortController();
    try {
      const next = this.channel.receive(left && { signal: left.signal });
      return this.#understand(step, await this.#within(next, step, timeout));
    } catch (error) {
      left?.abort();
      throw error;
    }
  }

  /** Ignores further messages, and calls back when the other process has ended the conversation. */
  whenEnded(callback: () => void): void {
    this.channel.once('close', callback);
    void this.#ignore();
  }

  /** Ends it at once. */
  end(): void {
    this.channel.destroy();
  }

  async #ignore(): Promise<void> {
    try {
      for await (const { fds } of this.channel) OwnedFd.closeAll(fds);
    } catch {
      // The conversation has ended.
    }
  }

  #understand(step: Step, { value, fds }: Message): Heard<In> {
    const message = this.#read(value);
    if (message === undefined) {
      OwnedFd.closeAll(fds);
      throw takeoverProtocol(step, this.pid, `it said ${JSON.stringify(value)?.slice(0, 80)}`);
    }
    this.#trace('from', message);
    return { message, fds };
  }

  async #within<T>(promise: Promise<T>, step: Step, timeout: number): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      if (timeout === Infinity) return;
      // After a process was stopped, its timers run before it reads what has come meanwhile.
      timer = setTimeout(() => afterReading(() => reject(stepTimedOut(step, this.pid, timeout))), timeout);
    });
    try {
      return await Promise.race([promise, late]);
    } catch (error) {
      throw (error as { step?: Step }).step === undefined ? this.#gone(step, error as Error) : error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The channel reports the end of its peer as `ERR_FDPASSER_CLOSED` without a cause. */
  #gone(step: Step, error: NodeJS.ErrnoException): Error {
    if (error.code === 'ERR_FDPASSER_PROTOCOL') return takeoverProtocol(step, this.pid, error.message);
    const inOrder = error.code === 'ERR_FDPASSER_CLOSED' && error.cause === undefined;
    return takeoverPeerGone(step, this.pid, inOrder ? undefined : error);
  }

  #trace(direction: string, message: In | Out): void {
    trace('takeover: %s %s process %s', stepOf(message), direction, this.pid ?? '?');
  }
}

function stepOf(message: { type: string }): Step {
  return message.type.toUpperCase() as Step;
}

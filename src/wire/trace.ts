/**
 * Reports what links do: on the channels `fdpasser.send`, `fdpasser.receive`, `fdpasser.wait` and `fdpasser.end` of
 * `node:diagnostics_channel`, and with `NODE_DEBUG=fdpasser` on standard error. If nobody listens, each report costs a
 * look at a flag.
 */
import type { Channel } from 'node:diagnostics_channel';
import type { DebugLogger } from 'node:util';
import { builtin } from '../common/lazy-modules.js';

/** Which link an event is about. */
export interface Source {
  /** The FdPasser, FdChannel or FdStream; `undefined` for `sendDatagram`. */
  source: object | undefined;
  /** `'passer'`, `'channel'`, `'stream'` or `'datagram socket'`. */
  what: string;
  /** The number of its socket. */
  socket: number;
}

/** The event of `fdpasser.send` and `fdpasser.receive`: what one system call carried. */
export interface CarriedEvent extends Source {
  messages: number;
  descriptors: number;
  bytes: number;
}

/** The event of `fdpasser.wait`: why one direction has to wait. */
export interface WaitEvent extends Source {
  direction: 'send' | 'receive';
  reason: 'the peer has no room' | 'too many descriptors in flight' | 'no free descriptor slot' | 'no memory';
}

/** The event of `fdpasser.end`: the socket is closed. */
export interface EndEvent extends Source {
  /** The error that broke it. `undefined` if nothing did, or if the application ended it. */
  error: Error | undefined;
}

class Trace<E extends Source> {
  readonly #name: string;
  readonly #channel: Channel;
  readonly #log: DebugLogger;
  readonly #logs: boolean;
  readonly #tell = (event: E): void => {
    const { source: _, what, socket, ...rest } = event;
    if (this.#logs) this.#log('%s %d %s %o', what, socket, this.#name, rest);
    if (this.#channel.hasSubscribers) this.#channel.publish(event);
  };

  constructor(name: string, log: DebugLogger) {
    this.#name = name;
    this.#channel = builtin.diagnosticsChannel.channel(`fdpasser.${name}`);
    this.#log = log;
    this.#logs = log.enabled ?? process.env['NODE_DEBUG'] !== undefined; // Bun's log does not tell, and checks by itself
  }

  /** Whether somebody listens. */
  get on(): boolean {
    return this.#logs || this.#channel.hasSubscribers;
  }

  /**
   * Reports an event at the end of the tick. A listener may call this library, and must not do so while a transfer is
   * in progress.
   */
  tell(event: E): void {
    process.nextTick(this.#tell, event);
  }
}

export interface Traces {
  readonly send: Trace<CarriedEvent>;
  readonly receive: Trace<CarriedEvent>;
  readonly wait: Trace<WaitEvent>;
  readonly end: Trace<EndEvent>;
}

let made: Traces | undefined;

/** The traces of this thread. The first call loads the modules that they need. */
export function traces(): Traces {
  return (made ??= make());
}

function make(): Traces {
  const log = builtin.util.debuglog('fdpasser');
  return {
    send: new Trace('send', log),
    receive: new Trace('receive', log),
    wait: new Trace('wait', log),
    end: new Trace('end', log),
  };
}

/**
 * What links do, for those who look on: on the channels `fdpasser.send`, `fdpasser.receive`, `fdpasser.wait` and
 * `fdpasser.end` of `node:diagnostics_channel`, and with `NODE_DEBUG=fdpasser` on standard error. Where nobody looks
 * on, each costs a look at a flag.
 */
import type { Channel } from 'node:diagnostics_channel';
import type { DebugLogger } from 'node:util';
import { builtin } from '../common/lazy-modules.js';

/** Whose link it is. */
export interface Source {
  /** The FdPasser, FdChannel or FdStream; `undefined` for `sendDatagram`. */
  source: object | undefined;
  /** `'passer'`, `'channel'`, `'stream'` or `'datagram socket'`. */
  what: string;
  /** The number of its socket. */
  socket: number;
}

/** On `fdpasser.send` and `fdpasser.receive`: what one call of the kernel carried. */
export interface CarriedEvent extends Source {
  messages: number;
  descriptors: number;
  bytes: number;
}

/** On `fdpasser.wait`: why nothing goes on in one direction. */
export interface WaitEvent extends Source {
  direction: 'send' | 'receive';
  reason: 'the peer has no room' | 'too many descriptors in flight' | 'no free descriptor slot' | 'no memory';
}

/** On `fdpasser.end`: the socket is closed. */
export interface EndEvent extends Source {
  /** What broke it; `undefined` where nothing did, or the application ended it. */
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
    this.#logs = log.enabled ?? process.env['NODE_DEBUG'] !== undefined; // Bun's does not tell, and looks itself
  }

  /** Whether somebody looks on. */
  get on(): boolean {
    return this.#logs || this.#channel.hasSubscribers;
  }

  /** Not at once: who looks on may call this library, and is not to find it in the middle of something. */
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

/** Those of this thread. The first call loads what they need. */
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

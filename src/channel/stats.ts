import type { WireStats } from '../wire/counters.js';

/** What a channel has carried, and what waits. Requests and replies are messages too. */
export interface ChannelStats extends WireStats {
  /** Messages that the kernel has completely. */
  sent: number;
  /** Complete messages that came, taken or not. */
  received: number;
  /** Messages that the kernel does not have, or not completely. */
  queued: number;
  /** Messages that the peer's application has not taken yet, as far as this side knows. */
  untaken: number;
  /** Messages received that nobody here has taken yet. */
  waiting: number;
  /** Calls of `receive` that wait for a message. */
  asking: number;
  /** Requests from this side that were sent and have no answer. */
  requests: number;
  /** Requests of the peer that have no answer from this side. */
  unanswered: number;
}

import type { WireStats } from '../wire/counters.js';

/** What a channel has carried, and what waits. Requests and replies are messages, too. */
export interface ChannelStats extends WireStats {
  /** Messages that the kernel has whole. */
  sent: number;
  /** Messages that came whole, though nobody may have taken them yet. */
  received: number;
  /** Messages that the kernel has not, or not whole. */
  queued: number;
  /** Messages that the peer's application has not taken yet, as far as is known. */
  untaken: number;
  /** Messages received that nobody here has taken yet. */
  waiting: number;
  /** Calls of `receive` that wait for one. */
  asking: number;
  /** Requests from here that were sent and have no answer. */
  requests: number;
  /** Requests of the peer's that have no answer from here. */
  unanswered: number;
}

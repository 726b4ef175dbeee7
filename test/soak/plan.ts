/** The messages of the conductor to its workers, and how it chooses them. */
import type { SocketType } from 'fdpasser';
import type { Random } from '../support/random.js';

export interface Wire {
  kind: 'passer' | 'stream' | 'channel';
  type: Exclude<SocketType, 'dgram'>;
  /** Descriptors a message may carry. */
  batch: number;
  /**
   * For passers: once in this many batches a new socket is sent over the old one, and everything else over the new one.
   * 0: never.
   */
  renew: number;
}

/**
 * How a lane ends: the sender closes in order; or it destroys its passer after about half, and what the kernel had by
 * then must arrive; or the receiver destroys its own, and what it had by then must be the beginning.
 */
export type End = 'in order' | 'sender' | 'receiver';

/** One sequence of descriptors: from a source through relays to a sink, each in the worker of that number. */
export interface Lane {
  id: number;
  count: number;
  workers: number[];
  /** Between each worker and the next. */
  wires: Wire[];
  end: End;
}

export type Order =
  | { do: 'know'; pools: Pool[] }
  /** Takes the place of this number in a lane. The message carries the sockets, first the one to receive from. */
  | { do: 'take part'; lane: Lane; place: number; seed: number }
  /** Begins an episode: from now on threads take slots, unless there are none. */
  | { do: 'race'; threads: number }
  /** Sources send nothing more. */
  | { do: 'stop' }
  /** All lanes are over: threads rest. */
  | { do: 'rest' };

/** The files of one worker, by inode in the order sent; all on one device. */
export interface Pool {
  device: number;
  inodes: number[];
}

/** The result of a lane at its end; see `Tally`. */
export interface Arrival {
  received: number;
  upTo: number;
  missing: number;
  doubled: number;
  outOfOrder: number;
  foreign: number;
}

export type Report =
  | { what: 'ready'; pool: Pool }
  | { what: 'source'; lane: number; sent: number }
  | { what: 'relay'; lane: number }
  | { what: 'sink'; lane: number; arrival: Arrival }
  /** How often threads took a slot, and how often a receiver found none. */
  | { what: 'resting'; taken: number; exhausted: number };

const MOST_LANES = 4;

/** The lanes of one episode, with about so many descriptors in all. */
export function chooseLanes(random: Random, workers: number, relays: readonly number[], descriptors: number): Lane[] {
  const many = 1 + random.below(MOST_LANES);
  return Array.from({ length: many }, (_, id) =>
    chooseLane(random, id, workers, relays, Math.ceil(descriptors / many)),
  );
}

/**
 * The kernel limits what each user except root has in flight. If that applied to a relay, its source could use the
 * whole limit, and the relay would wait for ever for room to send before it receives.
 */
function chooseLane(random: Random, id: number, workers: number, relays: readonly number[], count: number): Lane {
  const hops = Math.min(random.of([1, 1, 1, 2, 3]), relays.length + 1);
  const all = Array.from({ length: workers }, (_, worker) => worker);
  const take = (from: readonly number[]): number => {
    const worker = random.of(from);
    all.splice(all.indexOf(worker), 1);
    return worker;
  };
  const between = Array.from({ length: hops - 1 }, () => take(relays.filter((relay) => all.includes(relay))));
  const along = [take(all), ...between, take(all)];
  const wires = Array.from({ length: hops }, () => chooseWire(random));
  const abrupt = hops === 1 && wires[0]!.kind === 'passer' && wires[0]!.renew === 0;
  const end = abrupt ? random.of<End>(['in order', 'in order', 'sender', 'receiver']) : 'in order';
  return { id, count, workers: along, wires, end };
}

function chooseWire(random: Random): Wire {
  const kind = random.of(['passer', 'passer', 'passer', 'stream', 'channel'] as const);
  return {
    kind,
    type: kind === 'stream' ? 'stream' : random.of(['stream', 'stream', 'seqpacket'] as const),
    batch: random.of([1, 1, 2, 16, 253]),
    renew: kind === 'passer' ? random.of([0, 0, 0, 10, 100]) : 0,
  };
}

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { fstatSync, readdirSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { OwnedFd } from 'fdpasser';
import { identity, inFolder, leftOpen, openDescriptors, until } from '../support/descriptors.js';
import { KINDS, type Kind, type Made } from './objects.js';
import { WIRES, type Outcome, type Term, type Wire, type WireKind } from './wires.js';

/** More bytes than the kernel buffers for a client that does not read. */
const MORE_THAN_BUFFERS = Buffer.alloc(16 << 20);

/** What happens to the wire after something was handed to it. */
interface End {
  name: string;
  /** Called before anything is handed over. Returns what must be ended afterwards. */
  before?(wire: Wire, received: OwnedFd[]): void | Promise<() => void>;
  /** In the tick of the call, after it. */
  after?(wire: Wire, made: Made, received: OwnedFd[]): void;
  /** When the loop has turned. */
  later?(wire: Wire, made: Made, received: OwnedFd[]): void;
  /** Whether all that was sent arrives, and all that is not refused is sent. */
  arrives?: true;
  /** The object is ended here while it waits. */
  endsObject?: true;
  /** Needs a wire that notices its peer's end. */
  hears?: true;
}

const ENDS: readonly End[] = [
  { name: 'it is taken', before: (wire, received) => wire.take(received), arrives: true },
  { name: 'it is taken later', later: (wire, _, received) => wire.take(received), arrives: true },
  {
    name: 'the sender closes at once, and it is taken',
    before: (wire, received) => wire.take(received),
    after: (wire) => void wire.close(),
    arrives: true,
  },
  { name: 'the sender is destroyed at once', after: (wire) => wire.destroy() },
  { name: 'the sender is destroyed later', later: (wire) => wire.destroy() },
  {
    name: 'the sender is destroyed while it is taken',
    before: (wire, received) => wire.take(received),
    later: (wire) => wire.destroy(),
  },
  { name: 'the peer has gone', before: (wire) => wire.leave(), hears: true },
  { name: 'the peer goes at once', after: (wire) => wire.leave(), hears: true },
  { name: 'the peer goes later', later: (wire) => wire.leave(), hears: true },
  {
    name: 'it ends by itself at once',
    before: (wire, received) => wire.take(received),
    after: (_, made) => made.end(),
    endsObject: true,
  },
  {
    name: 'it ends by itself later, and is taken',
    before: (wire, received) => wire.take(received),
    later: (_, made) => made.end(),
    endsObject: true,
  },
  {
    name: 'it is behind what is not ready, and the sender is destroyed',
    before: unready,
    later: (wire) => wire.destroy(),
  },
  {
    name: 'it is behind what is not ready, and the peer goes',
    before: unready,
    later: (wire) => wire.leave(),
    hears: true,
  },
  {
    name: 'it is behind what is not ready, and ends by itself',
    before: unready,
    later: (_, made) => made.end(),
    endsObject: true,
  },
];

/** First in line is a connection whose client does not read what was written to it. */
async function unready(wire: Wire): Promise<() => void> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const client = connect((listener.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
  const [socket] = (await once(listener, 'connection')) as [Socket];
  listener.close();
  socket.on('error', () => {}).write(MORE_THAN_BUFFERS);
  void wire.send(socket, { name: 'given', keep: false });
  return () => {
    socket.destroy();
    client.destroy();
  };
}

export interface Combination {
  kind: Kind;
  wire: WireKind;
  term: Term;
  end: End;
}

export const COMBINATIONS: readonly Combination[] = KINDS.flatMap((kind) =>
  WIRES.flatMap((wire) =>
    wire.terms.flatMap((term) =>
      ENDS.filter((end) => !(end.hears && wire.deaf) && !(end.endsObject && kind.bare)).map((end) => ({
        kind,
        wire,
        term,
        end,
      })),
    ),
  ),
);

export function described({ kind, wire, term, end }: Combination): string {
  return `${kind.name}, ${term.name} over ${wire.name}: ${end.name}`;
}

/** Milliseconds. Everything here takes only a few turns of the loop: only a fault takes this long. */
const SETTLES = 20_000;

/** Runs one, and asserts what holds for all of them. */
export async function cross(combination: Combination, limit = SETTLES): Promise<void> {
  const before = openDescriptors();
  await inFolder(async (folder) => {
    const { kind, wire: wireKind, term, end } = combination;
    const made = await kind.make(folder);
    const wire = wireKind.open();
    const received: OwnedFd[] = [];
    // Others may have the same file open, such as /dev/null.
    const others = made.id === 'none' || kind.refused ? 0 : Math.max(0, countHere(made.id, received) - 1);
    const endBefore = await end.before?.(wire, received);
    try {
      const sent = wire.send(made.value, term);
      end.after?.(wire, made, received);
      await turn();
      await turn();
      end.later?.(wire, made, received);

      const outcome = await settled('the send', afterwards(combination, wire, sent, received));
      await settled('the end', Promise.all([wire.close(), wire.over()]));
      check(combination, made, outcome, received);
      const holders = (): number => countHere(made.id, received) - others;
      await reaches('holders', holders, expectedHere(combination, made, outcome), limit);
    } finally {
      wire.destroy();
      wire.leave();
      for (const fd of received) fd.close();
      made.end();
      made.rest?.();
      endBefore?.();
    }
  });
  for (const limit = performance.now() + SETTLES; leftOpen(before).length > 0 && performance.now() < limit;)
    await sleep(1);
  assert.deepEqual(leftOpen(before), [], 'left open');
}

/** The outcome. If the wire must end for it, the wire is ended. */
async function afterwards(
  { end, wire: { deaf } }: Combination,
  wire: Wire,
  sent: Promise<Outcome>,
  received: OwnedFd[],
): Promise<Outcome> {
  const first = await Promise.race([sent, sleep(end.arrives ? 0 : 30, undefined)]);
  if (first !== undefined && !end.arrives) {
    wire.leave();
    if (deaf) wire.destroy();
    return first;
  }
  const closing = wire.close();
  if (!end.arrives) {
    wire.leave();
    if (deaf) wire.destroy();
  }
  const outcome = await sent;
  await closing;
  if (end.arrives && outcome.what === 'sent') {
    if (deaf) await until(() => received.length > 0);
    else await wire.over(); // it notices the end behind all that came
  }
  wire.leave();
  return outcome;
}

function check({ kind, wire, term, end }: Combination, made: Made, outcome: Outcome, received: OwnedFd[]): void {
  const code = outcome.what === 'refused' ? (outcome.error.code ?? outcome.error.name) : outcome.what;
  if (kind.refused !== undefined && term.abort !== 'before') assert.ok(kind.refused.includes(code), `it is ${code}`);
  if (kind.refused !== undefined) assert.notEqual(outcome.what, 'sent');
  if (kind.lentOnly && !term.keep && term.abort !== 'before') assert.equal(code, 'ERR_FDPASSER_MANAGED');
  if (term.abort === 'before') assert.equal(code, 'ABORT_ERR');
  const refusesUnread = kind.unread && !wire.carriesUnread && !term.keep;
  if (refusesUnread && term.abort !== 'before') assert.equal(code, 'ERR_FDPASSER_UNREAD');
  const mayBeSent =
    kind.refused === undefined &&
    !(kind.lentOnly && !term.keep) &&
    !refusesUnread &&
    !(kind.opening && term.keep) &&
    !term.abort;
  if (end.arrives && mayBeSent) assert.equal(code, 'sent');

  assert.ok(received.length <= 1, `it came ${received.length} times`);
  for (const fd of received) assert.equal(identity(fd.fd), made.id, 'something else came');
  if (outcome.what === 'sent' && end.arrives) assert.equal(received.length, 1, 'it did not come');
  if (outcome.what !== 'sent' && !term.confirm) assert.equal(received.length, 0, `it is ${code}, and came`);
  assert.equal(made.fault?.(), undefined);
}

/** How many descriptors of it this process must have, not counting received ones. `undefined`: any number. */
function expectedHere({ kind, term, end }: Combination, made: Made, outcome: Outcome): number | undefined {
  if (made.id === 'none' || kind.refused !== undefined) return 0;
  if (end.endsObject) return undefined; // checked where it must be gone: after the end
  if (term.keep) return 1;
  if (outcome.what === 'sent') return 0;
  if (outcome.what === 'silent') return 0;
  const thrown = ['ERR_FDPASSER_MANAGED', 'ERR_FDPASSER_UNREAD', 'ERR_FDPASSER_CLOSED', 'ABORT_ERR'];
  if (!term.forGood || thrown.includes(outcome.error.code ?? '')) return term.forGood ? undefined : 1;
  return 0;
}

function countHere(id: string, received: OwnedFd[]): number {
  const theirs = new Set(received.map(({ fd }) => fd));
  return readdirSync('/proc/self/fd').filter((name) => {
    if (theirs.has(Number(name))) return false;
    try {
      const { dev, ino } = fstatSync(Number(name), { bigint: true });
      return `${dev}:${ino}` === id;
    } catch {
      return false; // the descriptor of the folder itself, which is closed by now
    }
  }).length;
}

/** A stream that is opening may have its descriptor for a moment, so the count must hold for a whole turn. */
async function reaches(what: string, count: () => number, expected: number | undefined, most: number): Promise<void> {
  if (expected === undefined) return;
  for (const limit = performance.now() + most; performance.now() < limit; await sleep(1)) {
    if (count() !== expected) continue;
    await turn();
    if (count() === expected) return;
  }
  assert.equal(count(), expected, what);
}

async function settled<T>(what: string, promise: Promise<T>): Promise<T> {
  const stop = new AbortController();
  const late = sleep(SETTLES, undefined, { signal: stop.signal }).then(
    () => assert.fail(`${what} does not settle`),
    () => undefined as never,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

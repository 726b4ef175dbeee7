/** Uses the core while its system calls fail in the given ways, and reports each outcome. */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { socketpair } from 'fdpasser';
import { anonymousFile, identity, inFolder, leftOpen, openDescriptors, until } from '../../support/descriptors.js';
import { Faults, errnoOf, type Rule } from '../../support/faults.js';
import { idle } from '../../support/idle.js';
import { TELL, type Injection, type Order, type Outcome } from '../../support/injection.js';
import { USES, type Use } from '../../support/uses.js';
import { WIRES, type Wire, type WireKind } from '../../support/wires.js';

const FILES = 6;
const faults = new Faults(process.env.FAULTS!);

/** Calls that concern another descriptor, and not the socket. */
const ABOUT_ANOTHER = new Set(['open', 'read']);

function rule({ call, errno, times, first }: Injection, fd: number): Rule {
  return {
    call,
    fd: ABOUT_ANOTHER.has(call) ? 0 : fd,
    first,
    times: { once: 1, 'three times': 3, 'until it relents': 0 }[times],
    ...(errno === 'short' ? { action: 'short' } : { action: 'fail', value: errnoOf(errno) }),
  };
}

/** `E` stands for the errno that was injected. */
function described(error: unknown, errno: string): string {
  const { code, errno: number, syscall } = error as NodeJS.ErrnoException;
  return [errno !== 'short' && number === -errnoOf(errno) ? 'E' : code, syscall].filter(Boolean).join(' ');
}

/**
 * Each end sends files to the other; one end is under the fault. In each case what arrives is a prefix of what was
 * sent, in order. Each file has arrived, or is its sender's again, or was lost with a wire that reports that it broke.
 */
async function transfer(kind: WireKind, injection: Injection): Promise<Omit<Outcome, keyof Injection>> {
  const [a, b] = socketpair({ type: kind.type });
  const other = kind.open(b);
  faults.trace();
  faults.set(rule(injection, a.fd));
  let wire: Wire;
  try {
    wire = kind.open(a);
  } catch (error) {
    const { hit } = faults.count();
    faults.set();
    assert.equal(a.closed, false, 'what threw took the socket over');
    a.close();
    await until(() => other.end !== undefined || kind.type === 'dgram');
    other.destroy();
    return { use: kind.name, hits: hit, outcome: `throws ${described(error, injection.errno)}` };
  }
  const sends = [sendFiles(wire, kind), sendFiles(other, kind)] as const;
  const [mine, theirs] = sends;
  const complete = (): boolean =>
    sends.every(({ settled }) => settled === FILES) &&
    wire.got.length === FILES &&
    other.got.length + mine.refused.length === FILES &&
    wire.events.filter((event) => event === 'exhausted').length ===
      wire.events.filter((event) => event === 'resumed').length;
  if (kind.askedLate) await until(() => faults.trace().includes(TELL));
  else wire.ask(FILES);
  other.ask(FILES);
  if (kind.askedLate && injection.call !== TELL && wire.end === undefined) wire.ask(FILES);
  let relented = 0;
  if (injection.times === 'until it relents') {
    await until(() => faults.count().hit > 1 || wire.end !== undefined);
    await idle();
    relented = faults.count().hit;
    faults.set();
  }
  if (kind.askedLate && injection.call === TELL && wire.end === undefined) wire.ask(FILES);
  await until(() => complete() || wire.end !== undefined);
  const early = wire.end;
  if (early === undefined) {
    other.close();
    if (kind.askedLate) await until(() => wire.end !== undefined);
    wire.close();
  } else if (kind.type === 'dgram') other.close();
  await until(() => wire.end !== undefined && (other.end !== undefined || kind.type === 'dgram'));
  const hits = relented || faults.count().hit;
  faults.set();
  other.destroy();
  await until(() => sends.every(({ settled }) => settled === FILES));

  assert.deepEqual(
    other.got,
    mine.all.filter((id) => other.got.includes(id)),
    'out of order',
  );
  assert.deepEqual(wire.got, theirs.all.slice(0, wire.got.length), 'out of order, or one is missing');
  for (const [{ back, gone }, { got }] of [
    [mine, other],
    [theirs, wire],
  ] as const) {
    if (kind.confirms) for (const id of gone) assert.ok(got.includes(id), 'confirmed, and never taken');
    // An end that breaks gets no more confirmations and sends none. Only then can neither end know.
    if (!kind.confirms || early === undefined)
      for (const id of back) assert.ok(!got.includes(id), 'arrived, and given back');
  }
  if (early === undefined) assert.equal(mine.back.length + other.got.length, FILES, 'lost');
  // Datagrams in a socket are dropped when a send of that socket finds its peer gone.
  else if (kind.givesBack && !kind.confirms && kind.type !== 'dgram')
    assert.deepEqual(other.got, mine.gone, 'sent before the end, and lost');
  const outcome = [...new Set(wire.events)];
  if (early !== undefined) {
    outcome.push(early.error === undefined ? 'ends' : `breaks: ${described(early.error, injection.errno)}`);
    if (early.error === undefined)
      for (const error of mine.refused) assert.equal(described(error, injection.errno), 'ERR_FDPASSER_CLOSED');
  } else {
    if (mine.refused.length > 0)
      outcome.push(`refuses ${mine.refused.length}: ${described(mine.refused[0], injection.errno)}`);
    outcome.push(mine.refused.length > 0 ? 'all else arrives' : 'all arrives');
    if (wire.end!.error !== undefined) outcome.push(`ends: ${described(wire.end!.error, injection.errno)}`);
  }
  return { use: kind.name, hits, outcome: outcome.join(', ') };
}

interface Sent {
  all: string[];
  /** Given back. */
  back: string[];
  /** Sent, according to `send`. */
  gone: string[];
  refused: unknown[];
  settled: number;
}

function sendFiles(wire: Wire, { givesBack }: WireKind): Sent {
  const sent: Sent = { all: [], back: [], gone: [], refused: [], settled: 0 };
  for (let i = 0; i < FILES; i++) {
    const fd = anonymousFile();
    const id = identity(fd);
    sent.all.push(id);
    void wire
      .send(fd)
      .then(
        () => sent.gone.push(id),
        (error: unknown) => {
          sent.refused.push(error);
          if (!givesBack) return;
          assert.equal(identity(fd), id, 'refused, and not given back');
          sent.back.push(id);
          closeSync(fd);
        },
      )
      .finally(() => sent.settled++);
  }
  return sent;
}

async function endpoint(use: Use, injection: Injection, folder: string): Promise<Omit<Outcome, keyof Injection>> {
  let outcome: string;
  try {
    outcome = await use.run(folder, () => faults.set(rule(injection, 0)));
    if (injection.call.endsWith('(thread)')) await until(() => faults.count().hit > 0);
  } catch (error) {
    outcome = `throws ${described(error, injection.errno)}`;
    if ((error as Error).name === 'AssertionError') throw error;
  }
  if (injection.call.endsWith('(thread)')) await until(() => faults.count().hit > 0);
  const hits = faults.count().hit;
  faults.set();
  return { use: use.name, hits, outcome };
}

async function run({ use, injections }: Order, folder: string): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const injection of injections) {
    const before = openDescriptors();
    const { call, errno, times } = injection;
    try {
      const wire = WIRES.find(({ name }) => name === use);
      const outcome = wire
        ? await transfer(wire, injection)
        : await endpoint(
            USES.find(({ name }) => name === use)!,
            injection,
            folder,
          );
      await until(() => leftOpen(before).length === 0).catch(() =>
        assert.fail(`left open: ${leftOpen(before).join(', ')}`),
      );
      outcomes.push({ ...injection, ...outcome });
    } catch (error) {
      const hits = faults.count().hit;
      faults.set();
      outcomes.push({ ...injection, use, hits, outcome: `WRONG: ${(error as Error).message}` });
      if (process.env.SHOW) console.error(call, errno, times, error);
    }
  }
  return outcomes;
}

process.once('message', (order: Order) => {
  void inFolder((folder) => run(order, folder)).then((outcomes) => {
    process.send!(outcomes);
    faults.close();
    process.disconnect();
  });
});

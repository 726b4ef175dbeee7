import assert from 'node:assert/strict';
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { FdChannel, FdPasser, FdStream, socketpair } from 'fdpasser';
import { ended, startChild } from '../support/child.js';
import { anonymousFile, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

interface Event {
  source: object;
  what: string;
  socket: number;
  [more: string]: unknown;
}

const NAMES = ['send', 'receive', 'wait', 'end'];

/** Runs `use` while all events are noted: their names and contents, without the source. */
async function eventsOf(use: (events: [string, Event][]) => Promise<void>): Promise<[string, Event][]> {
  const events: [string, Event][] = [];
  const listeners = NAMES.map((name) => {
    const listener = (event: unknown): void => void events.push([name, event as Event]);
    subscribe(`fdpasser.${name}`, listener);
    return { name: `fdpasser.${name}`, listener };
  });
  try {
    await use(events);
  } finally {
    for (const { name, listener } of listeners) unsubscribe(name, listener);
  }
  return events;
}

test('diagnostics channels report what a passer sends and receives, and its end', async () => {
  const [a, b] = socketpair();
  const sockets = [a.fd, b.fd];
  const [one, other] = [new FdPasser(a), new FdPasser(b)];
  const events = await eventsOf(async (seen) => {
    await one.send(anonymousFile());
    (await other.receive()).close();
    one.destroy();
    await assert.rejects(other.receive());
    await until(() => seen.length === 4);
  });
  const one_ = { source: one, what: 'passer', socket: sockets[0] };
  const other_ = { source: other, what: 'passer', socket: sockets[1] };
  const carried = { messages: 1, descriptors: 1, bytes: 1 };
  assert.deepEqual(events, [
    ['send', { ...one_, ...carried }],
    ['receive', { ...other_, ...carried }],
    ['end', { ...one_, error: undefined }],
    ['end', { ...other_, error: undefined }],
  ]);
});

test('diagnostics channels report streams and channels, and the error that ends them', async () => {
  const [a, b] = socketpair();
  const stream = new FdStream(a);
  const failure = new Error('enough');
  const events = await eventsOf(async (seen) => {
    const messages = new FdChannel(b, { onError: () => {} });
    stream.on('error', () => {}).destroy(failure);
    await assert.rejects(messages.receive());
    await until(() => seen.filter(([name]) => name === 'end').length === 2);
  });
  const ends = events.filter(([name]) => name === 'end').map(([, { what, error }]) => [what, error]);
  assert.deepEqual(ends[0], ['stream', failure]);
  assert.equal(ends[1]![0], 'channel');
  assert.equal(channel('fdpasser.end').hasSubscribers, false);
});

test('a diagnostics channel reports that a send waits for the peer, and stats count it', async () => {
  const [a, b] = socketpair();
  const [one, other] = [new FdPasser(a), new FdPasser(b)];
  const events = await eventsOf(async (seen) => {
    for (let i = 0; i < 2000; i++) one.pushSendFh(1, { keepOpen: true });
    await until(() => seen.some(([name]) => name === 'wait'));
  });
  const wait = events.find(([name]) => name === 'wait')![1];
  assert.deepEqual([wait['direction'], wait['reason']], ['send', 'the peer has no room']);
  assert.ok(one.stats().sendWaits >= 1);
  one.destroy();
  other.destroy();
});

test('a subscriber can use the library in the middle of a transfer, and nothing is lost', async () => {
  const [a, b] = socketpair();
  const [one, other] = [new FdPasser(a, { batch: 3 }), new FdPasser(b)];
  let looked = 0;
  const look = (): void => {
    looked++;
    for (const end of socketpair()) end.close(); // uses the same batch as transfers
  };
  subscribe('fdpasser.send', look);
  subscribe('fdpasser.receive', look);
  for (let i = 0; i < 9; i++) one.pushSendFh(anonymousFile());
  for (let i = 0; i < 9; i++) (await other.receive()).close();
  await until(() => looked >= 2);
  unsubscribe('fdpasser.send', look);
  unsubscribe('fdpasser.receive', look);
  assert.equal(other.stats().descriptorsReceived, 9);
  one.destroy();
  other.destroy();
});

test('NODE_DEBUG=fdpasser prints what is sent and received and what ends, and nothing is printed without it', async () => {
  const traced = await ended(startChild('wire/tracing', { env: { NODE_DEBUG: 'fdpasser' } }));
  assert.deepEqual([traced.code, traced.signal], [0, null]);
  for (const line of [
    /^FDPASSER \d+: passer \d+ send \{ messages: 1, descriptors: 1, bytes: 1 \}$/m,
    /^FDPASSER \d+: passer \d+ receive \{ messages: 1, descriptors: 1, bytes: 1 \}$/m,
    /^FDPASSER \d+: passer \d+ end \{ error: undefined \}$/m,
    /^FDPASSER \d+: stream \d+ send \{ messages: 1, descriptors: 1, bytes: 3 \}$/m,
    /^FDPASSER \d+: stream \d+ receive \{ messages: 1, descriptors: 1, bytes: 3 \}$/m,
  ])
    assert.match(traced.stderr, line);
  const plain = await ended(startChild('wire/tracing', { env: { NODE_DEBUG: '' } }));
  assert.deepEqual([plain.code, plain.signal, plain.stderr], [0, null, '']);
});

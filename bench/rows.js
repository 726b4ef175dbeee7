/** What is measured. Each row is a way to pass descriptors, with the two commands of its pair (see pair.js). */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cold } from './cold.js';
import { USOCKET } from './usocket.js';

const bench = fileURLToPath(new URL('.', import.meta.url));
export const CEILING = join(bench, '../build/ceiling');

/** Descriptors per message. */
export const BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 253];
/** Descriptors queued at once. */
export const QUEUES = [1_000, 10_000, 100_000, 1_000_000];
/** Descriptors open at once: as many as fit under the limit of most systems. */
const KEPT = 18_000;
/** Connections to which nothing happens. */
const IDLE = 10_000;

const grouped = (count) => count.toLocaleString('en');
const ceiling = (...args) => [CEILING, ...args.map(String)];
const node = (side, ...args) => [process.execPath, join(bench, 'sides', side), ...args.map(String)];
const python = (...args) => ['python3', join(bench, 'sides/send_fds.py'), ...args.map(String)];
const perl = (...args) => ['perl', join(bench, 'sides/io-fdpass.pl'), ...args];
// Both sides take themselves for children, with the pair's socket as the IPC channel to a parent.
const ipcSide = (side, ...args) => ['env', 'NODE_CHANNEL_FD=3', ...node(side, ...args)];
const ipc = (mode) => ipcSide('ipc.js', mode);

/** About a seventh of a second. */
const descriptors = (batch) => (batch === 1 ? 50_000 : batch < 8 ? 100_000 : batch < 32 ? 200_000 : 300_000);
/** Only the least and the most descriptors per message are in the table. The plots have all. */
const tableOf = (batch) => (batch === 1 || batch === 253 ? 'passing' : undefined);
/** As many as one call can send. */
const queued = (batch) => Math.max(1024, 64 * batch);
/**
 * Descriptors in a run whose instructions are counted, by descriptors per message. Such a run takes about fifty times
 * as long as others.
 */
const INSTRUCTIONS = { 1: 5_000, 253: 15_000 };

/** A row of C with the care of the core, and one with a thread beside it: every runtime of JavaScript has threads. */
const careful = (batch, bytes = 1) =>
  [
    ['care', 'C with the same care'],
    ['care-thread', 'C with the same care and a thread'],
  ].map(([mode, title]) => ({
    name: `${mode}-${bytes > 1 ? '4k' : batch}`,
    title: `${title}, ${bytes > 1 ? '4 KiB and one descriptor' : `${batch} per message`}`,
    table: 'passing',
    count: bytes > 1 ? 30_000 : descriptors(batch),
    ...(bytes > 1 && { bytes }),
    send: ceiling('send', batch, bytes),
    receive: ceiling(mode, batch, bytes),
    ...(mode === 'care' && { instructions: INSTRUCTIONS[batch] }),
  }));

const inPython = (batch) => ({
  name: `python-${batch}`,
  title: `Python, socket.send_fds, ${batch} per message`,
  table: 'passing',
  count: batch === 1 ? 30_000 : descriptors(batch),
  send: python('send', batch),
  receive: python('receive', batch),
  missing: () => failure('python3', ['-c', 'import socket; socket.send_fds']),
});

/** What is compared with the rows of C that send as many descriptors in a message. */
const beside = {
  1: [
    ...careful(1),
    {
      name: 'channel',
      title: 'FdChannel, a message with a descriptor',
      table: 'work',
      count: 20_000,
      send: node('channel.js', 'send'),
      receive: node('channel.js', 'receive'),
      instructions: INSTRUCTIONS[1],
    },
    inPython(1),
    {
      name: 'perl',
      title: 'Perl, IO::FDPass',
      table: 'passing',
      count: descriptors(1),
      send: perl('send'),
      receive: perl('receive'),
      missing: () => failure('perl', ['-MIO::FDPass', '-e', '1']),
    },
    {
      name: 'usocket',
      title: 'usocket, one descriptor and a byte',
      table: 'passing',
      count: 10_000,
      send: node('usocket.js', 'send'),
      receive: node('usocket.js', 'receive'),
      missing: () => (existsSync(USOCKET) ? undefined : 'not installed: npm ci in bench/usocket'),
    },
  ],
  253: [
    {
      name: 'passer-many-253',
      title: 'FdPasser, 253 per message, received in bulk',
      table: 'passing',
      count: descriptors(253),
      send: node('passer.js', 'send', 253, queued(253)),
      receive: node('passer.js', 'many'),
      instructions: INSTRUCTIONS[253],
    },
    ...careful(253),
    inPython(253),
  ],
};

/**
 * The rows, those together that are compared with one another. `title` is the name in tables. `count` is how many
 * descriptors, or writes, a run passes, each with `bytes`. A `fresh` row has new processes for each run. `missing`
 * returns why a row cannot be measured here. A row without a pair has `once`, which makes one run. `table` is the table
 * where it stands; a row without one is only in a plot.
 */
export const groups = [
  [
    {
      name: 'dispatch',
      title: 'FdPasser, a connection handed over',
      table: 'work',
      count: 5_000,
      send: node('dispatch.js', 'send'),
      receive: node('dispatch.js', 'receive'),
    },
    {
      name: 'ipc',
      title: 'process.send(message, handle), the same',
      table: 'work',
      count: 500,
      send: ipc('send'),
      receive: ipc('receive'),
    },
  ],
  [
    ['channel', 'FdChannel, a call whose reply has a descriptor'],
    ['lines', 'net.Socket with lines of JSON, a call without'],
  ].map(([way, title]) => ({
    name: `call-${way}`,
    title,
    table: 'work',
    count: 5_000,
    send: node('messages.js', 'ask', way),
    receive: node('messages.js', 'answer', way),
  })),
  ...BATCHES.map((batch) => [
    {
      name: `c-${batch}`,
      title: `C, ${batch} per message`,
      table: tableOf(batch),
      count: descriptors(batch),
      send: ceiling('send', batch, 1),
      receive: ceiling('receive', batch, 1),
      instructions: INSTRUCTIONS[batch],
    },
    {
      name: `passer-${batch}`,
      title: `FdPasser, ${batch} per message`,
      table: tableOf(batch),
      count: descriptors(batch),
      send: node('passer.js', 'send', batch, queued(batch)),
      receive: node('passer.js', 'receive'),
      instructions: INSTRUCTIONS[batch],
    },
    ...(beside[batch] ?? []),
  ]),
  [
    ['channel', 'FdChannel, a message without one'],
    ['lines', 'net.Socket with lines of JSON, the same'],
    ['ipc', 'process.send(message), the same'],
  ].map(([way, title]) => ({
    name: `message-${way}`,
    title,
    table: 'work',
    count: 20_000,
    send: way === 'ipc' ? ipcSide('messages.js', 'send', 'ipc') : node('messages.js', 'send', way),
    receive: way === 'ipc' ? ipcSide('messages.js', 'receive', 'ipc') : node('messages.js', 'receive', way),
  })),
  [
    ['channel', '1,000 FdChannels, a message there and back on each'],
    ['lines', '1,000 net.Sockets with lines of JSON, the same'],
  ].map(([way, title]) => ({
    name: `thousand-${way}`,
    title,
    table: 'work',
    count: 10_000,
    send: node('thousand.js', 'ping', way),
    receive: node('thousand.js', 'pong', way),
  })),
  [
    {
      name: 'c-4k',
      title: 'C, 4 KiB and one descriptor',
      table: 'passing',
      count: 30_000,
      bytes: 4096,
      send: ceiling('send', 1, 4096),
      receive: ceiling('receive', 1, 4096),
      instructions: INSTRUCTIONS[1],
    },
    {
      name: 'stream-4k',
      title: 'FdStream, 4 KiB and one descriptor',
      table: 'passing',
      count: 30_000,
      bytes: 4096,
      send: node('stream.js', 'send', 'fdpasser', 4096, 1),
      receive: node('stream.js', 'receive', 'fdpasser', 4096, 1),
      instructions: INSTRUCTIONS[1],
    },
    ...careful(1, 4096),
  ],
  [
    {
      name: 'net-bytes',
      title: 'net.Socket, 64 KiB without descriptors',
      table: 'passing',
      count: 5_000,
      bytes: 65536,
      send: node('stream.js', 'send', 'net', 65536, 0),
      receive: node('stream.js', 'receive', 'net', 65536, 0),
    },
    {
      name: 'stream-bytes',
      title: 'FdStream, 64 KiB without descriptors',
      table: 'passing',
      count: 5_000,
      bytes: 65536,
      send: node('stream.js', 'send', 'fdpasser', 65536, 0),
      receive: node('stream.js', 'receive', 'fdpasser', 65536, 0),
    },
  ],
  [
    {
      name: 'c-trip',
      title: 'C, one descriptor there and back',
      table: 'passing',
      count: 5_000,
      send: ceiling('ping'),
      receive: ceiling('pong'),
    },
    {
      name: 'net-trip',
      title: 'net.Socket, one byte there and back',
      table: 'passing',
      count: 5_000,
      send: node('echo.js', 'ping'),
      receive: node('echo.js', 'pong'),
    },
    {
      name: 'passer-trip',
      title: 'FdPasser, one descriptor there and back',
      table: 'passing',
      count: 5_000,
      send: node('passer.js', 'ping'),
      receive: node('passer.js', 'pong'),
    },
  ],
  QUEUES.map((queue) => ({
    name: `queue-${queue}`,
    title: `FdPasser, 253 per message, ${grouped(queue)} queued`,
    count: Math.max(queue, 200_000),
    send: node('passer.js', 'send', 253, queue),
    receive: node('passer.js', 'receive'),
  })),
  [{ name: 'cold', title: 'import, and one descriptor passed', fresh: true, once: cold }],
  [
    {
      name: 'c-growth',
      title: `C with a thread, ${grouped(KEPT)} kept open`,
      count: KEPT,
      fresh: true,
      send: ceiling('send', 1, 1),
      receive: ceiling('grow'),
    },
    {
      name: 'passer-growth',
      title: `FdPasser, ${grouped(KEPT)} kept open`,
      count: KEPT,
      fresh: true,
      send: ceiling('send', 1, 1),
      receive: node('keep.js', 'cold'),
    },
    {
      name: 'passer-growth-warm',
      title: `FdPasser, ${grouped(KEPT)} kept open after ${grouped(KEPT)} that were closed`,
      count: KEPT * 2,
      fresh: true,
      send: ceiling('send', 1, 1),
      receive: node('keep.js', 'warm'),
    },
  ],
  [
    {
      name: 'heap',
      title: 'FdPasser, 1,000,000 queued at once',
      count: 1_000_000,
      fresh: true,
      send: [process.execPath, '--expose-gc', ...node('heap.js').slice(1)],
      receive: node('passer.js', 'receive'),
    },
    ...[
      ['idle', 'FdPasser', 'passer'],
      ['idle-channel', 'FdChannel', 'channel'],
      ['idle-stream', 'FdStream', 'stream'],
    ].map(([name, title, wire]) => ({
      name,
      title: `${title}, ${grouped(IDLE)} idle ones`,
      count: IDLE,
      fresh: true,
      send: [process.execPath, '--expose-gc', ...node('idle.js', 'make', wire).slice(1)],
      receive: node('idle.js', 'hold', wire),
    })),
  ],
];

export const rows = groups.flat();

/** Why a command fails, or undefined when it does not. */
function failure(command, args) {
  try {
    execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
    return undefined;
  } catch (error) {
    return `${command} fails: ${(error.stderr || error.message).trim().split('\n').at(-1)}`;
  }
}

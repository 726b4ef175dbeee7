// Measures how long the messages that a channel accepts by default stop the event loop: `node bench/decode.js`, after
// `npm run compile`. Each kind of message is received 50 times. It measures processor time, on which other programs
// have no influence.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { FdChannel, FdStream, socketpair } from 'fdpasser';
import { encodeHello, encodeMessage } from '../dist/channel/frames.js';
import { median } from './statistics.js';

const TIMES = 50;
const MOST = 64 << 10;

/** As many units as there is room for, with commas between them. */
function filled(begin, unit, end) {
  let text = begin;
  for (let i = 0; ; i++) {
    const next = (i === 0 ? '' : ',') + unit(i);
    if (text.length + next.length + end.length > MOST) return text + end;
    text += next;
  }
}

function messages(count, value) {
  return Buffer.concat(
    Array.from({ length: count }, () => encodeMessage([value], 0, 0).flatMap(({ pieces }) => pieces)).flat(),
  );
}

const json = (text) => ({ codec: 'json', count: 1, wire: () => messages(1, Buffer.from(text())) });

/** Kinds of values that take long to decode for their length. */
const KINDS = {
  'a string': json(() => JSON.stringify('x'.repeat(MOST - 2))),
  numbers: json(() => filled('[', (i) => `${i}.5e-9`, ']')),
  'empty objects': json(() => filled('[', () => '{}', ']')),
  'nested arrays': json(() => '['.repeat(MOST / 2) + ']'.repeat(MOST / 2)),
  'nested objects': json(() => `${'{"":'.repeat(MOST / 5 - 1)}0${'}'.repeat(MOST / 5 - 1)}`),
  'an object of many keys': json(() => filled('{', (i) => `"${i.toString(36)}x":0`, '}')),
  'many objects of different keys': json(() => filled('[', (i) => `{"${i.toString(36)}x":0}`, ']')),
  '8,000 messages without a value': { codec: 'json', count: 8000, wire: () => messages(8000, Buffer.alloc(0)) },
  "16 MiB of 'bytes'": { codec: 'bytes', count: 1, wire: () => messages(1, Buffer.alloc(16 << 20)) },
};

/** The child: sends one message of this kind for each request. */
function serve(kind) {
  const { codec, wire } = KINDS[kind];
  const stream = new FdStream(3).resume();
  const bytes = wire();
  stream.write(encodeHello({ codec: codec === 'json' ? 1 : 0, maxMessageBytes: 1, maxFds: 1, window: 1 }));
  process.on('message', () => stream.write(bytes));
  process.send('ready');
}

/**
 * For each of 50 times, the longest turn of the event loop while one is received, in milliseconds of processor time.
 */
async function measure(kind) {
  const { codec, count } = KINDS[kind];
  const [ours, theirs] = socketpair();
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), kind], {
    stdio: ['ignore', 'inherit', 'inherit', theirs.fd, 'ipc'],
  });
  theirs.close();
  await once(child, 'message');
  const channel = new FdChannel(ours, { codec });
  const turns = [];
  for (let i = 0; i < TIMES; i++) {
    let longest = 0;
    let last = process.cpuUsage();
    let looking = true;
    const look = () => {
      const { user, system } = process.cpuUsage(last);
      longest = Math.max(longest, (user + system) / 1000);
      last = process.cpuUsage();
      if (looking) setImmediate(look);
    };
    setImmediate(look);
    child.send('again');
    for (let k = 0; k < count; k++) await channel.receive();
    await new Promise(setImmediate);
    looking = false;
    turns.push(longest);
  }
  channel.destroy();
  child.kill();
  await once(child, 'exit');
  return turns;
}

if (process.argv[2] !== undefined) serve(process.argv[2]);
else
  for (const kind of Object.keys(KINDS)) {
    const turns = await measure(kind);
    console.log(
      `${kind.padEnd(32)} median ${median(turns).toFixed(1)} ms, longest ${Math.max(...turns).toFixed(1)} ms`,
    );
  }

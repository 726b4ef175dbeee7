import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { FrameReader, FramingError, type Incoming } from '#dist/channel/frame-reader.js';
import {
  bodyLength,
  encodeBody,
  encodeClosing,
  encodeConfirm,
  encodeHello,
  encodeDeclined,
  encodeMessage,
  encodeTaken,
  FRAME_BYTES,
  FRAME_FDS,
  HELLO_BYTES,
  REPLY,
  REQUEST,
  UNREAD,
  UNREAD_BYTES,
  windowSize,
  type Frame,
  type Hello,
} from '#dist/channel/frames.js';
import { amount } from '../support/amount.js';
import { encodeMessage as wholeFrames } from '../support/frames.js';
import { test } from '../support/test.js';

const LIMITS = { maxMessageBytes: 300_000, maxFds: 1000 };
const MOST_SIZE = windowSize(LIMITS.maxMessageBytes + 4 + 8 * LIMITS.maxFds + UNREAD_BYTES + 4);

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });

const hello: fc.Arbitrary<Hello> = fc.record(
  {
    codec: fc.integer({ min: 0, max: 255 }),
    capabilities: fc.integer({ min: 0, max: 0xffff }),
    maxMessageBytes: uint32,
    maxFds: uint32,
    window: uint32,
  },
  { noNullPrototype: true },
);

const short = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
/** Bodies with lengths near the limits of frames. */
const long = fc
  .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: -1, max: 1 }), fc.integer({ min: 0, max: 255 }))
  .map(([frames, off, byte]) => Buffer.alloc(Math.max(0, frames * FRAME_BYTES + off), byte));

const message = fc
  .record({
    type: fc.constantFrom('message', 'request', 'reply'),
    number: uint32,
    value: fc.oneof({ weight: 9, arbitrary: short }, { weight: 1, arbitrary: long }),
    fds: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: FRAME_FDS - 1, max: 2 * FRAME_FDS + 1 })),
    unread: fc.array(short, { maxLength: 4 }),
  })
  .map(({ type, number, value, fds, unread: pieces }): Incoming => {
    const unread = pieces.slice(0, fds).map((bytes, index) => ({ index, bytes }));
    const length = bodyLength(value.length, type !== 'message', unread);
    const own = length > FRAME_BYTES || fds > FRAME_FDS;
    const body = { value, own, fds, unread, size: windowSize(length) };
    return type === 'message' ? { type, body } : { type, number, body };
  });
const taken = uint32.map((count): Incoming => ({ type: 'taken', count }));
const declined = uint32.map((number): Incoming => ({ type: 'declined', number }));
const frame = fc.oneof(
  { weight: 4, arbitrary: message },
  { weight: 1, arbitrary: taken },
  { weight: 1, arbitrary: declined },
  { weight: 1, arbitrary: fc.constantFrom({ type: 'closing' as const }, { type: 'confirm' as const }) },
);
const wire = fc.array(frame, { maxLength: 12 });

const FLAG = { message: 0, request: REQUEST, reply: REPLY };

function encode(incoming: Incoming): Buffer {
  if (incoming.type === 'hello') return encodeHello(incoming.hello);
  if (incoming.type === 'taken') return encodeTaken(incoming.count);
  if (incoming.type === 'declined') return encodeDeclined(incoming.number);
  if (incoming.type === 'closing') return encodeClosing();
  if (incoming.type === 'confirm') return encodeConfirm();
  const { value, fds, unread } = incoming.body;
  const body = encodeBody(value, { number: incoming.type === 'message' ? undefined : incoming.number, unread });
  const frames = encodeMessage(body, fds, FLAG[incoming.type] | (unread.length > 0 ? UNREAD : 0));
  return Buffer.concat(frames.flatMap(({ pieces }) => pieces));
}

/**
 * Reads bytes that come in pieces of these lengths, in turn. Each piece is at the same place in memory as the one
 * before.
 */
function read(bytes: Buffer, lengths: number[]): Incoming[] {
  const reader = new FrameReader(LIMITS);
  const found: Incoming[] = [];
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const piece = Buffer.from(bytes.subarray(at, at + (lengths[i % lengths.length] ?? bytes.length)));
    found.push(...reader.push(piece).map(copied));
    piece.fill(0xff);
    at += piece.length;
  }
  assert.equal(reader.unfinished, false);
  return found;
}

/** What a reader returned may be a view of bytes that are soon overwritten. */
function copied(incoming: Incoming): Incoming {
  if (!('body' in incoming)) return incoming;
  const { value, own } = incoming.body;
  return { ...incoming, body: { ...incoming.body, value: own ? value : Buffer.from(value) } };
}

const cuts = fc.array(fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 100_000 })), {
  minLength: 1,
  maxLength: 20,
});

test('a reader finds exactly what was written, however the bytes are cut', () => {
  fc.assert(
    fc.property(hello, wire, cuts, (hello, rest, lengths) => {
      const sent: Incoming[] = [{ type: 'hello', hello }, ...rest];
      assert.deepEqual(read(Buffer.concat(sent.map(encode)), lengths), sent);
    }),
    { numRuns: amount(500, 200) },
  );
});

test('a message is cut into frames of at most 65536 bytes and 253 descriptors, and no more of them than needed', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 200_000 }), fc.integer({ min: 0, max: 1000 }), (bytes, fds) => {
      const frames = wholeFrames(Buffer.alloc(bytes), fds, false);
      assert.equal(frames.length, Math.max(1, Math.ceil(bytes / FRAME_BYTES), Math.ceil(fds / FRAME_FDS)));
      assert.equal(
        frames.reduce((sum, frame) => sum + frame.fds, 0),
        fds,
      );
      for (const frame of frames) assert.ok(frame.fds <= FRAME_FDS);
    }),
  );
});

interface Mutation {
  kind: 'set' | 'insert' | 'remove';
  at: number;
  bytes: Uint8Array;
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom('set', 'insert', 'remove'),
  at: fc.nat(),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
});

function mutate(bytes: Buffer, { kind, at, bytes: other }: Mutation): Buffer {
  const start = at % (bytes.length + 1);
  const rest = bytes.subarray(kind === 'insert' ? start : start + other.length);
  return Buffer.concat([bytes.subarray(0, start), kind === 'remove' ? Buffer.alloc(0) : other, rest]);
}

test('a reader finds messages within the limits or throws a FramingError, whatever the bytes', () => {
  let refused = 0;
  let accepted = 0;
  fc.assert(
    fc.property(
      hello,
      wire,
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      fc.nat(),
      cuts,
      (hello, rest, mutations, keep, lengths) => {
        const valid = Buffer.concat([encodeHello(hello), ...rest.map(encode)]);
        // Half of them keep the hello unchanged, so that the rest is read.
        const head = keep % 2 === 0 ? valid.subarray(0, HELLO_BYTES) : Buffer.alloc(0);
        const bytes = Buffer.concat([head, mutations.reduce(mutate, valid.subarray(head.length))]);
        const reader = new FrameReader(LIMITS);
        try {
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const length = lengths[i % lengths.length]!;
            for (const incoming of reader.push(bytes.subarray(at, at + length)))
              if ('body' in incoming) {
                assert.ok(incoming.body.value.length <= LIMITS.maxMessageBytes);
                assert.ok(incoming.body.size <= MOST_SIZE);
                assert.ok(incoming.body.fds <= LIMITS.maxFds);
              }
            assert.ok(reader.pending.size <= MOST_SIZE);
            assert.ok(reader.pending.fds <= LIMITS.maxFds);
            at += length;
          }
          accepted++;
        } catch (error) {
          if (!(error instanceof FramingError)) throw error;
          refused++;
        }
      },
    ),
    { numRuns: amount(5000, 1500) },
  );
  assert.ok(refused > 100 && accepted > 100, `${refused} refused and ${accepted} accepted of 5000`);
});

test('a message in a million parts of one byte costs no more memory than one in a few', () => {
  const reader = new FrameReader({ maxMessageBytes: 1 << 20, maxFds: 1 });
  reader.push(encodeHello({ codec: 0, capabilities: 0, maxMessageBytes: 0, maxFds: 0, window: 0 }));
  const parts = Buffer.alloc(9 << 10);
  for (let at = 0; at < parts.length; at += 9) wholeFrames(Buffer.from('x'), 0, false)[0]!.bytes.copy(parts, at);
  for (let at = 0; at < parts.length; at += 9) parts[at + 1] = 1; // MORE
  const before = process.memoryUsage();
  for (let i = 0; i < 1 << 10; i++) reader.push(parts);
  const after = process.memoryUsage();
  assert.equal(reader.pending.size, windowSize(1 << 20));
  const grown = after.heapUsed + after.external - before.heapUsed - before.external;
  assert.ok(grown < 32 << 20, `grew by ${grown} bytes`);
  assert.throws(() => reader.push(parts), FramingError);
});

test('the example in docs/protocol.md is what is sent', () => {
  const example = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8');
  const encoded = [
    encodeHello({ codec: 1, capabilities: 7, maxMessageBytes: 64 << 10, maxFds: 1024, window: 65_536 }),
    wholeFrames(Buffer.from('{"log":1}'), 1, false)[0]!.bytes,
    encodeTaken(1),
    ...[REQUEST, REPLY].map((flag) => {
      const value = Buffer.from(flag === REQUEST ? '"log"' : 'true');
      const [{ pieces }] = encodeMessage(
        encodeBody(value, { number: 7, unread: [] }),
        flag === REPLY ? 1 : 0,
        flag,
      ) as [Frame];
      return Buffer.concat(pieces);
    }),
    ...wholeFrames(Buffer.from('0'), 300, false).map(({ bytes }) => bytes),
  ];
  const lines = example.split('\n').map((line) => line.replace(/ {6}with.*/, '').replaceAll(' ', ''));
  for (const bytes of encoded) assert.ok(lines.includes(bytes.toString('hex')), bytes.toString('hex'));
});

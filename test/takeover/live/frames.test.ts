import assert from 'node:assert/strict';
import { Frames, closeFrame } from '#dist/takeover/live/frames.js';
import { Random } from '../../support/random.js';
import { frame } from '../../support/raw-websocket.js';
import { test } from '../../support/test.js';

interface Expected {
  bytes: Buffer;
  /** Where frames end, and by then: how much may be answered, how much may be an answer, and where a message ended. */
  ends: Map<number, { asked: number; answers: number; whole: number }>;
  /** The place from which bytes before a position are needed again. */
  readonly heldFrom: (position: number) => Buffer;
}

/** Messages whole and in pieces, with control frames between. */
function anything(random: Random): Expected {
  const frames: { bytes: Buffer; opcode: number; final: boolean; control: boolean }[] = [];
  const add = (opcode: number, final: boolean, length: number): void => {
    const bytes = frame(opcode, random.bytes(length), { final, masked: random.once(2) });
    frames.push({ bytes, opcode, final, control: opcode >= 8 });
  };
  for (let i = 0; i < 20; i++) {
    const pieces = 1 + random.below(random.of([1, 1, 4]));
    for (let piece = 0; piece < pieces; piece++) {
      while (random.once(4)) add(random.of([9, 10]), true, random.below(126));
      add(piece === 0 ? 2 : 0, piece === pieces - 1, random.below(random.of([1, 126, 300, 66_000])));
    }
  }
  const ends: Expected['ends'] = new Map([[0, { asked: 0, answers: 0, whole: 0 }]]);
  let at = 0;
  let asked = 0;
  let answers = 0;
  let whole = 0;
  let fragmented = false;
  const starts = frames.map(({ bytes, opcode, final, control }) => {
    const start = at;
    at += bytes.length;
    if (!control) fragmented = !final;
    if (control ? opcode === 9 : final) asked++;
    if (control ? opcode === 10 : final) answers++;
    if (!fragmented) whole = at;
    ends.set(at, { asked, answers, whole });
    return start;
  });
  const heldFrom = (position: number): Buffer => {
    let held: Buffer[] = [];
    for (const [i, { bytes, final, control }] of frames.entries()) {
      const start = starts[i]!;
      if (start >= position) break;
      if (start + bytes.length > position) held.push(bytes.subarray(0, position - start));
      else if (!control) held = final ? [] : [...held, bytes];
    }
    return Buffer.concat(held);
  };
  return { bytes: Buffer.concat(frames.map(({ bytes }) => bytes)), ends, heldFrom };
}

test('frames are counted however they are cut, and unfinished ones are held as they came', () => {
  const random = new Random(Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31)));
  for (let round = 0; round < 20; round++) {
    const { bytes, ends, heldFrom } = anything(random);
    const frames = new Frames(true);
    let at = 0;
    while (at < bytes.length) {
      const size = 1 + random.below(random.of([1, 3, 200, 50_000]));
      const chunk = Buffer.from(bytes.subarray(at, at + size));
      const rest = frames.endIn(chunk);
      const end = [...ends.keys()].find((each) => each >= at)!;
      assert.equal(rest, Math.min(end - at, chunk.length), `seed ${random.seed}`);
      frames.push(chunk);
      chunk.fill(0); // as a reader that unmasks in place
      at = Math.min(at + size, bytes.length);
      assert.equal(frames.between, ends.has(at), `seed ${random.seed}`);
      assert.ok(frames.held!.equals(heldFrom(at)), `seed ${random.seed} at ${at}`);
      const { asked, answers, whole } = frames;
      if (frames.between) assert.deepEqual({ asked, answers, whole }, ends.get(at), `seed ${random.seed} at ${at}`);
    }
  }
});

test('nothing is held of a message of more than a megabyte, and all of the next', () => {
  const frames = new Frames(true);
  frames.push(frame(2, Buffer.alloc(600_000), { final: false }));
  assert.equal(frames.held!.length, 600_014);
  frames.push(frame(0, Buffer.alloc(600_000), { final: false }));
  assert.equal(frames.held, undefined);
  frames.push(frame(0, Buffer.alloc(1)));
  assert.equal(frames.held!.length, 0);
  frames.push(frame(2, Buffer.alloc(5)).subarray(0, 3));
  assert.equal(frames.held!.length, 3);
});

test('nothing counts after a close frame', () => {
  const frames = new Frames(true);
  frames.push(Buffer.concat([closeFrame(1012, 'why', 'client'), Buffer.from('anything')]));
  assert.ok(frames.closing);
  assert.ok(frames.between);
  assert.equal(frames.held!.length, 0);
  assert.equal(frames.whole, 0); // the last frame is none of a message
});

/**
 * Receives random and mutated frames of a hostile peer: `hostile.js what type seed count`. Reports the outcomes, the
 * most memory that it took, and what is left open.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FdChannel, FdPasser, FdStream, socketpair, type OwnedFd } from 'fdpasser';
import { encodeDeclined, encodeHello, encodeTaken, FRAME_FDS, REPLY, REQUEST, REQUESTS } from '#dist/channel/frames.js';
import { RawPeer, type Type } from '../../support/channels.js';
import { anonymousFile, leftOpen, openDescriptors, until } from '../../support/descriptors.js';
import { encodeMessage, type WholeFrame } from '../../support/frames.js';
import { Random } from '../../support/random.js';

export interface Survived {
  frames: number;
  connections: number;
  /** How connections ended, by code. */
  ends: Record<string, number>;
  received: number;
  descriptors: number;
  mostMemory: number;
  left: string[];
}

const [what, type, seed, count] = process.argv.slice(2) as [string, Type, string, string];
const random = new Random(Number(seed));
const survived: Survived = {
  frames: 0,
  connections: 0,
  ends: {},
  received: 0,
  descriptors: 0,
  mostMemory: 0,
  left: [],
};

const EAGAIN = -11;
const NOISE = random.bytes(1 << 16);
const file = anonymousFile();

function noise(most: number): Buffer {
  const length = random.below(most + 1);
  const at = random.below(NOISE.length - length);
  return NOISE.subarray(at, at + length);
}

function files(most: number): number[] {
  return Array<number>(random.below(most + 1)).fill(file);
}

function ended(error: Error | undefined): void {
  const code = error === undefined ? 'in order' : String((error as NodeJS.ErrnoException).code);
  survived.ends[code] = (survived.ends[code] ?? 0) + 1;
}

/** Sends as much as the kernel takes, unless the victim has gone; returns false when it has. */
async function push(peer: RawPeer, bytes: Buffer, fds: number[], gone: () => boolean): Promise<boolean> {
  for (let rest = bytes; rest.length > 0;) {
    const sent = peer.trySend(rest, rest === bytes ? fds : []);
    if (sent > 0) rest = rest.subarray(sent);
    else if (sent !== EAGAIN || gone()) return false;
    else await nextTurn();
  }
  return true;
}

// ---- FdChannel

function hello(): Buffer {
  const bytes = encodeHello({
    codec: 0,
    capabilities: random.of([0, REQUESTS]),
    maxMessageBytes: random.below(2 ** 32),
    maxFds: random.below(2 ** 32),
    window: random.below(2 ** 32),
  });
  return random.once(50) ? mutated(bytes) : bytes;
}

function mutated(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  if (copy.length > 0)
    copy[random.below(Math.min(copy.length, random.of([8, 20, 100])))] = random.of([0, 1, 2, 3, 255]);
  return random.once(4) ? copy.subarray(0, random.below(copy.length)) : copy;
}

/** The frames of one message, mostly valid, so that a connection lasts for a while. */
function frames(): WholeFrame[] {
  if (random.once(300)) return [{ bytes: encodeTaken(random.below(random.of([2, 10, 2 ** 32]))), fds: 0 }];
  if (random.once(300)) return [{ bytes: encodeDeclined(random.below(3)), fds: 0 }];
  const most = random.once(400) ? 150_000 : 40;
  const found = encodeMessage(noise(most), random.once(200) ? random.below(300) : random.of([0, 0, 0, 1, 2]), false);
  if (random.once(600)) return found.map(({ bytes, fds }) => ({ bytes: mutated(bytes), fds }));
  if (random.once(600))
    return found.map(({ bytes, fds }) => ({ bytes, fds: random.below(Math.min(fds + 10, FRAME_FDS)) }));
  if (random.once(2000)) return [{ bytes: noise(1000), fds: random.below(3) }];
  // A request begins with its number, which may be anything.
  if (random.once(10)) for (const { bytes } of found) bytes[1]! |= random.once(200) ? REPLY : REQUEST;
  return found;
}

/** The contents of each sendmsg: as many frames as its descriptors allow, or one packet. */
function shipments(): WholeFrame[] {
  const all = Array.from({ length: type === 'stream' ? 100 : 1 }, frames).flat();
  survived.frames += all.length;
  if (type !== 'stream') return all;
  const found: WholeFrame[] = [];
  while (all.length > 0) {
    let fds = 0;
    let many = 0;
    for (; many < all.length && fds + all[many]!.fds <= FRAME_FDS; many++) fds += all[many]!.fds;
    found.push({ bytes: Buffer.concat(all.splice(0, many).map(({ bytes }) => bytes)), fds });
  }
  return found;
}

async function take(channel: FdChannel<Buffer>, most: number): Promise<void> {
  for (; most > 0; most--) {
    using message = await channel.receive();
    survived.received++;
    survived.descriptors += message.fds.length;
  }
  if (random.once(2)) void channel.close();
}

async function attackChannel(): Promise<void> {
  const [a, b] = socketpair({ type });
  const victim = { gone: false };
  const channel = new FdChannel<Buffer>(a, {
    codec: 'bytes',
    maxMessageBytes: 100_000,
    maxFds: 280,
    highWaterMark: 40_000,
    onError: ended,
  });
  channel.once('close', () => (victim.gone = true));
  using peer = new RawPeer(b);
  const taking = take(channel, random.of([0, 10, Infinity, Infinity, Infinity])).catch(() => undefined);
  for (let i = random.below(3); i > 0; i--) channel.send(noise(100), [file], { keepOpen: true }).catch(() => undefined);

  let alive = await push(peer, hello(), [], () => victim.gone);
  while (alive && !victim.gone && !random.once(100)) {
    for (const { bytes, fds } of shipments())
      alive &&= await push(peer, bytes, Array<number>(fds).fill(file), () => victim.gone);
    if (type === 'stream' || random.once(20)) await nextTurn();
    peer.receive();
  }
  peer.close();
  await taking;
  channel.destroy();
  await until(() => victim.gone);
}

// ---- FdPasser

async function attackPasser(): Promise<void> {
  const [a, b] = socketpair({ type });
  const victim = { gone: false };
  const passer = new FdPasser({ fh: a, onError: ended });
  passer.once('close', () => (victim.gone = true));
  using peer = new RawPeer(b);
  const received = (fd: OwnedFd): void => {
    fd.close();
    survived.descriptors++;
    passer.pushRecvFh(received);
  };
  for (let i = random.below(100); i >= 0; i--) passer.pushRecvFh(received);
  for (let alive = true; alive && !victim.gone && !random.once(500); survived.frames++) {
    const plain = random.once(200);
    const bytes = Buffer.concat([Buffer.alloc(1), noise(random.once(50) ? 5000 : 10)]);
    alive = await push(peer, bytes, plain ? [] : [file, ...files(random.once(20) ? 252 : 3)], () => victim.gone);
    if (random.once(20)) await nextTurn();
  }
  peer.close();
  passer.destroy();
  await until(() => victim.gone);
}

// ---- FdStream

async function attackStream(): Promise<void> {
  const [a, b] = socketpair();
  const victim = { gone: false };
  let bytes = 0;
  let fds = 0;
  const stream = new FdStream(a);
  stream.once('error', ended).once('close', () => (victim.gone = true));
  stream.on('data', (chunk: Buffer) => (bytes -= chunk.length));
  stream.on('fds', (received: OwnedFd[]) => {
    for (const fd of received) fd.close();
    fds -= received.length;
    survived.descriptors += received.length;
  });
  using peer = new RawPeer(b);
  while (!random.once(500)) {
    const sent = Buffer.concat([Buffer.alloc(1), noise(random.once(50) ? 60_000 : 100)]);
    const along = files(random.once(20) ? 253 : 3);
    await push(peer, sent, along, () => victim.gone);
    bytes += sent.length;
    fds += along.length;
    survived.frames++;
    if (random.once(20)) await nextTurn();
  }
  if (random.once(4)) stream.destroy();
  else {
    peer.endSending();
    await until(() => victim.gone);
    if (bytes !== 0 || fds !== 0) throw new Error(`${bytes} bytes and ${fds} descriptors did not arrive`);
  }
  await until(() => victim.gone);
  peer.close();
}

// ----

const attack = { channel: attackChannel, passer: attackPasser, stream: attackStream }[what]!;
await attack(); // by now everything that opens descriptors of its own at first use has done so
const before = openDescriptors();
for (; survived.frames < Number(count); survived.connections++) {
  await attack();
  if (survived.connections % 20 === 0) {
    const { rss, heapUsed, external } = process.memoryUsage();
    survived.mostMemory = Math.max(survived.mostMemory, rss, heapUsed + external);
  }
}
await until(() => leftOpen(before).length === 0).catch(() => {
  survived.left = leftOpen(before);
});
process.send!(survived);
process.disconnect();

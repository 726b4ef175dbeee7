/**
 * Takes part in a soak as the channel that it inherits says. argv: its seed, how many files it sends in turn, and the
 * user to run as.
 */
import { close, fstatSync, open, readdir } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { FdChannel, OwnedFd } from 'fdpasser';
import { anonymousFile } from '../support/descriptors.js';
import { Random } from '../support/random.js';
import type { Lane, Order, Pool, Report } from './plan.js';
import { Tally } from './tally.js';
import { inlet, outlet, type Inlet } from './wires.js';

const [seed, files, user] = process.argv.slice(2).map(Number) as [number, number, number];
/** About how many descriptors a receiver asks for, and a sender queues, at a time. */
const WINDOW = 256;
const MOST_KEPT = 100;
/** In one message. */
const MOST_TOGETHER = 64;

const conductor = FdChannel.inherit<Order | Report>();
const random = new Random(seed);
const pool = Array.from({ length: files }, () => new OwnedFd(anonymousFile()));
let pools: Pool[] = [];
/** Aborted when sources must send nothing more. */
let episode = new AbortController();
let exhausted = 0;

process.on('SIGINT', () => {}); // a terminal sends it to all processes; the conductor says what to do
if (user !== 0 && process.getuid!() === 0) {
  process.setgroups!([]);
  process.setgid!(user);
  process.setuid!(user);
}

function report(what: Report): void {
  void conductor.send(what);
}

// ---- the places in a lane

async function source({ id, count, wires, end }: Lane, socket: OwnedFd, random: Random): Promise<void> {
  const out = outlet(wires[0]!, socket);
  const under = new Set<Promise<void>>();
  const queued = { descriptors: 0 };
  const upTo = end === 'sender' ? random.below(count) : count;
  let next = 0;
  const gone = new AbortController();
  while (next < upTo && !gone.signal.aborted && !episode.signal.aborted) {
    const many = Math.min(1 + random.below(wires[0]!.batch > 1 ? MOST_TOGETHER : 8), upTo - next);
    const keepOpen = !random.once(4);
    const fds: OwnedFd[] = [];
    try {
      for (let i = 0; i < many; i++) {
        const file = pool[(next + i) % files]!;
        fds.push(keepOpen ? file : file.dup());
      }
    } catch {
      // Without a slot, as many are sent as there were.
    }
    if (fds.length === 0) {
      await sleep(1);
      continue;
    }
    next += fds.length;
    const sending = out.send(fds, keepOpen).catch((error: Error) => {
      gone.abort();
      if (end === 'in order') throw error; // of a peer that should have stayed
      if (!keepOpen) for (const fd of fds) fd.close();
    });
    under.add(sending);
    queued.descriptors += fds.length;
    void sending.finally(() => {
      under.delete(sending);
      queued.descriptors -= fds.length;
    });
    while (queued.descriptors > WINDOW) await Promise.race(under);
    if (random.once(400)) await sleep(random.below(10));
  }
  if (end === 'sender') out.destroy();
  await Promise.all(under);
  await out.close();
  report({ what: 'source', lane: id, sent: out.sent });
}

/** Passes on together what comes together. */
function relay({ id, wires }: Lane, place: number, sockets: OwnedFd[]): void {
  const out = outlet(wires[place]!, sockets[1]!);
  const under = new Set<Promise<void>>();
  let here: OwnedFd[] = [];
  const passOn = (): void => {
    const many = here.length;
    if (many === 0) return;
    const sending = out.send(here, false).then(() => {
      under.delete(sending);
      into.ask(many);
    });
    here = [];
    under.add(sending);
  };
  const finish = async (): Promise<void> => {
    passOn();
    await Promise.all([...under, out.close()]);
    report({ what: 'relay', lane: id });
  };
  const into = inlet(wires[place - 1]!, sockets[0]!, {
    received(fd) {
      if (here.push(fd) === 1) process.nextTick(passOn);
      if (here.length === MOST_TOGETHER) passOn();
    },
    exhausted: () => exhausted++,
    ended(error) {
      if (error !== undefined) throw error;
      void finish();
    },
  });
  into.ask(WINDOW);
}

function sink({ id, workers, wires, end, count }: Lane, socket: OwnedFd, random: Random): void {
  const { device, inodes } = pools[workers[0]!]!;
  const places = new Map(inodes.map((inode, place) => [inode, place]));
  const tally = new Tally(files);
  const kept: OwnedFd[] = [];
  const keep = random.below(MOST_KEPT);
  const upTo = end === 'receiver' ? random.below(count) : Infinity;
  const into: Inlet = inlet(wires.at(-1)!, socket, {
    received(fd) {
      const { dev, ino } = fstatSync(fd.fd);
      tally.arrived(dev === device ? places.get(ino) : undefined);
      kept.push(fd);
      if (kept.length > keep) kept.shift()!.close();
      if (tally.received > upTo) into.destroy();
      else if (random.once(2000)) setTimeout(() => into.ask(1), random.below(10));
      else into.ask(1);
    },
    exhausted() {
      exhausted++;
      for (const fd of kept.splice(0)) fd.close();
    },
    ended(error) {
      for (const fd of kept.splice(0)) fd.close();
      if (error !== undefined) throw error;
      const { received, upTo, missing, doubled, outOfOrder, foreign } = tally;
      report({ what: 'sink', lane: id, arrival: { received, upTo, missing, doubled, outOfOrder, foreign } });
    },
  });
  into.ask(WINDOW);
}

// ---- threads that take slots

let racing = false;
const racers = { left: 0 };
let taken = 0;

/** Holds a slot from one turn of the loop to the next, or for a moment in the middle of whatever the loop does. */
function race(): void {
  if (!racing) {
    racers.left--;
    return;
  }
  const again = (): void => void setTimeout(race, random.below(4));
  taken++;
  if (random.once(2)) readdir('/', again);
  else
    open('/dev/null', 'r', (error, fd) => {
      if (error !== null) again();
      else close(fd, again);
    });
}

// ----

async function obey(order: Order, sockets: OwnedFd[]): Promise<void> {
  switch (order.do) {
    case 'know':
      pools = order.pools;
      return;
    case 'take part': {
      const { lane, place } = order;
      const mine = new Random(order.seed);
      if (place === 0) await source(lane, sockets[0]!, mine);
      else if (place === lane.workers.length - 1) sink(lane, sockets[0]!, mine);
      else relay(lane, place, sockets);
      return;
    }
    case 'race':
      episode = new AbortController();
      racing = true;
      for (; racers.left < order.threads; racers.left++) race();
      return;
    case 'stop':
      episode.abort();
      return;
    case 'rest':
      racing = false;
      while (racers.left > 0) await sleep(1);
      report({ what: 'resting', taken, exhausted });
      taken = exhausted = 0;
  }
}

const { dev } = fstatSync(pool[0]!.fd);
report({ what: 'ready', pool: { device: dev, inodes: pool.map(({ fd }) => fstatSync(fd).ino) } });
for await (const { value, fds } of conductor) void obey(value as Order, fds);
racing = false;
episode.abort();
for (const file of pool) file.close();

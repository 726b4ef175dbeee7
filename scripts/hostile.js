/**
 * One peer sends a process descriptors that are slow to close, while an honest peer passes it others. Prints how late
 * the process's event loop was at worst, and how fast the honest peer was, as a table for docs/reliability.md.
 *
 * npm run hostile 100,000 descriptors beside each kind npm run hostile -- --descriptors 20000 so many; --limit 1024: of
 * the process's table
 *
 * Fails unless all descriptors arrived, no table was full, the loop was at most 10 ms later than that of an idle
 * process, and the honest peer had at least half of the rate that it has alone. Runs on Linux as root: other users may
 * not mount, or open AF_PACKET sockets.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { FdPasser, socketpair } from '#dist/bundle/index.js';

const self = fileURLToPath(import.meta.url);
const hostile = fileURLToPath(new URL('../test/support/slow-to-close.py', import.meta.url));

const KINDS = {
  linger: { title: 'lingering TCP connections', count: 64 },
  nested: { title: 'Unix sockets with one unread', count: 1000 },
  packet: { title: 'packet sockets', count: 253 },
  inotify: { title: 'inotify instances', count: 253 },
  fuse: { title: 'files of a FUSE that never answers', count: 64 },
};

const roles = { target, honest, idle };
const role = roles[process.argv[2]];
if (role) await role();
else await main();

// ---- the processes

/**
 * How late a timer was at worst since the last call, in milliseconds. The time in which no processor was free for this
 * thread is left out, by the kernel's own count.
 */
function lateness() {
  const PERIOD = 1;
  const stat = openSync('/proc/thread-self/schedstat', 'r');
  const room = Buffer.alloc(100);
  const waited = () => Number(room.toString('latin1', 0, readSync(stat, room, 0, 100, 0)).split(' ')[1]) / 1e6;
  let last = performance.now();
  let before = waited();
  let worst = 0;
  setInterval(() => {
    const now = performance.now();
    const then = waited();
    worst = Math.max(worst, now - last - PERIOD - (then - before));
    last = performance.now();
    before = waited();
  }, PERIOD);
  return () => {
    const found = worst;
    worst = 0;
    return found;
  };
}

/** Closes all descriptors that it gets: from the hostile peer at descriptor 3, and from the honest one at 4. */
async function target() {
  const worst = lateness();
  const counts = { hostile: 0, honest: 0 };
  let full = 0;
  const take = async (passer, who) => {
    passer.on('exhausted', () => full++);
    for await (const fd of passer) {
      fd.close();
      counts[who]++;
      if (who === 'honest' && counts.honest === wanted) process.send({ done: true });
    }
  };
  let wanted = 0;
  process.on('message', (message) => {
    if (message.expect !== undefined) {
      wanted = counts.honest + message.expect;
      worst();
      process.send({ expecting: true });
    } else process.send({ ...counts, full, worst: worst() });
  });
  await Promise.race([take(new FdPasser({ fh: 3 }), 'hostile'), take(new FdPasser({ fh: 4 }), 'honest')]);
}

/** Passes one file's descriptor: for each message, as many times as the message says. */
function honest() {
  const AT_ONCE = 1000;
  const passer = new FdPasser({ fh: 3 });
  const file = openSync(self, 'r');
  const pass = (left) => {
    for (let i = Math.min(left, AT_ONCE); i > 0; i--)
      passer.pushSendFh(file, { keepOpen: true }, () => {
        if (--left % AT_ONCE === 0 && left > 0) pass(left);
      });
  };
  process.on('message', pass);
}

function idle() {
  const worst = lateness();
  process.on('message', () => process.send(worst()));
}

// ---- the run

function start(role, fds, prefix = []) {
  const [command, ...args] = [...prefix, process.execPath, self, role];
  return spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', ...fds, 'ipc'] });
}

async function ask(child, question) {
  const answer = once(child, 'message');
  child.send(question);
  return (await answer)[0];
}

/**
 * Makes the honest peer pass `count` descriptors. Returns how many arrived in a second, and what was seen meanwhile.
 */
async function pass(children, count) {
  await ask(children.target, { expect: count });
  await ask(children.idle, '');
  const began = performance.now();
  const done = once(children.target, 'message');
  children.honest.send(count);
  const told = await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 120_000, 'late').unref())]);
  const seconds = (performance.now() - began) / 1000;
  const seen = await ask(children.target, {});
  const machine = await ask(children.idle, '');
  return { ...seen, machine, rate: told === 'late' ? 0 : count / seconds };
}

async function attack(kind, count, descriptors, limit) {
  const [toTarget, hostileEnd] = socketpair();
  const [fromHonest, honestEnd] = socketpair();
  const children = {
    target: start('target', [toTarget.fd, fromHonest.fd], ['prlimit', `--nofile=${limit}`]),
    honest: start('honest', [honestEnd.fd]),
    idle: start('idle', []),
  };
  const python = spawn('unshare', ['--mount', 'python3', hostile, kind, `${count}`], {
    stdio: ['pipe', 'pipe', 'inherit', hostileEnd.fd],
  });
  for (const end of [toTarget, hostileEnd, fromHonest, honestEnd]) end.close();
  const ended = [python, ...Object.values(children)].map((child) => once(child, 'exit'));
  const lines = createInterface(python.stdout)[Symbol.asyncIterator]();
  try {
    if ((await lines.next()).value !== 'ready') throw new Error(`no ${KINDS[kind].title} could be made`);
    await pass(children, descriptors); // while the code is compiled
    const alone = await pass(children, descriptors);
    python.stdin.write('\n');
    const beside = await pass(children, descriptors);
    return { alone, beside, lost: 3 * descriptors - beside.honest };
  } finally {
    python.stdin.end();
    for (const child of Object.values(children)) child.kill('SIGKILL');
    await Promise.all(ended);
  }
}

/** Raises the limit of inotify instances, where root can. */
function allowInotify(wanted) {
  const setting = '/proc/sys/fs/inotify/max_user_instances';
  const before = readFileSync(setting, 'utf8');
  try {
    if (Number(before) < 2 * wanted) writeFileSync(setting, `${2 * wanted}`);
    return { count: wanted, restore: () => writeFileSync(setting, before) };
  } catch {
    return { count: Math.min(wanted, Number(before) - 28), restore() {} };
  }
}

async function main() {
  const { values } = parseArgs({
    options: { descriptors: { type: 'string', default: '100000' }, limit: { type: 'string', default: '1024' } },
  });
  const descriptors = Number(values.descriptors);
  const inotify = allowInotify(KINDS.inotify.count);
  console.log(
    '| sent by one peer | taken | loop late at worst, ms | an idle process, ms | honest rate alone, /s | beside | lost | EMFILE |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
  try {
    for (const [kind, { title, count }] of Object.entries(KINDS)) {
      const thrown = kind === 'inotify' ? inotify.count : count;
      const { alone, beside, lost } = await attack(kind, thrown, descriptors, values.limit);
      const cells = [
        `${thrown} ${title}`,
        beside.hostile,
        beside.worst.toFixed(1),
        beside.machine.toFixed(1),
        Math.round(alone.rate),
        `${Math.round((100 * beside.rate) / alone.rate)} %`,
        lost,
        beside.full,
      ];
      console.log(`| ${cells.join(' | ')} |`);
      const good =
        beside.worst <= beside.machine + 10 && beside.rate >= alone.rate / 2 && lost === 0 && beside.full === 0;
      if (!good) process.exitCode = 1;
    }
  } finally {
    inotify.restore();
  }
}

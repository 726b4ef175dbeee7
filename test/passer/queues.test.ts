import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { fstatSync, readFileSync } from 'node:fs';
import { FdPasser, OwnedFd, socketpair } from 'fdpasser';
import { amount } from '../support/amount.js';
import { ended, message, startChild, startPython } from '../support/child.js';
import { anonymousFile, identity, leftOpen, openDescriptors, until } from '../support/descriptors.js';
import { TOO_MANY, connected, observed, pushFiles, receiveFiles, turns, unexpected } from '../support/passing.js';
import { order, startPeer } from '../support/peer.js';
import { test } from '../support/test.js';

/** Asks by callback; resolves with the identities in the order of the calls. */
function askFor(passer: FdPasser, count: number): Promise<string[]> {
  const received: string[] = [];
  return new Promise((resolve) => {
    for (let i = 0; i < count; i++)
      passer.pushRecvFh((fd) => {
        using owned = fd;
        received.push(`${i} ${identity(owned.fd)}`);
        if (received.length === count) resolve(received);
      });
  });
}

const numbered = (files: string[]): string[] => files.map((file, i) => `${i} ${file}`);

// ---- both queues

test('descriptors asked for long before they are sent come in order', async () => {
  for (const type of ['stream', 'seqpacket', 'dgram'] as const) {
    const [one, other] = connected({ type });
    const received = askFor(other, 100);
    await turns();
    const files = pushFiles(one, 50);
    await turns();
    files.push(...pushFiles(one, 50));
    assert.deepEqual(await received, numbered(files));
    one.destroy();
    other.destroy();
  }
});

test('descriptors sent long before they are asked for come in order', async () => {
  for (const type of ['stream', 'seqpacket', 'dgram'] as const) {
    const [one, other] = connected({ type });
    const files = pushFiles(one, TOO_MANY);
    await turns();
    assert.deepEqual(await askFor(other, TOO_MANY), numbered(files));
    one.destroy();
    other.destroy();
  }
});

test('sends and receives queued before the child exists reach it', async () => {
  const passer = new FdPasser();
  const received = askFor(passer, 10);
  const files = pushFiles(passer, TOO_MANY);
  await turns();
  const child = startPeer(passer);
  const end = ended(child);
  assert.deepEqual(await order(child, 'receive', TOO_MANY), files);
  assert.deepEqual(numbered(await order(child, 'send', 10)), await received);
  await order(child, 'close');
  const { code, signal, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  passer.destroy();
});

test('sent is called in order, when the kernel has it and it is closed here', async () => {
  const [one, other] = connected();
  const sent: number[] = [];
  const fds = Array.from({ length: TOO_MANY }, anonymousFile);
  const all = new Promise<void>((resolve) => {
    fds.forEach((fd, i) => {
      one.pushSendFh(fd, {}, () => {
        assert.throws(() => fstatSync(fd), { code: 'EBADF' });
        if (sent.push(i) === TOO_MANY) resolve();
      });
    });
  });
  assert.deepEqual(sent, []);
  await turns();
  const first = sent.length;
  assert.ok(first > 0 && first < TOO_MANY, `${first} fit into the kernel`);
  await receiveFiles(other, TOO_MANY);
  await all;
  assert.deepEqual(sent, [...fds.keys()]);
  one.destroy();
  other.destroy();
});

test('callbacks and promises share one queue', async () => {
  const [one, other] = connected();
  const log: string[] = [];
  const note = (name: string, fd: OwnedFd): void => {
    log.push(`${name} ${identity(fd.fd)}`);
    fd.close();
  };
  other.pushRecvFh((fd) => note('a', fd));
  const promised = other.receive().then((fd) => note('b', fd));
  other.pushRecvFh((fd) => note('c', fd));
  const files = pushFiles(one, 3);
  await promised;
  await until(() => log.length === 3);
  assert.deepEqual(
    log.toSorted(),
    ['a', 'b', 'c'].map((name, i) => `${name} ${files[i]}`),
  );
  one.destroy();
  other.destroy();
});

test('callbacks can receive and send', async () => {
  const [one, other] = connected();
  const files: string[] = [];
  const received = await new Promise<string[]>((resolve) => {
    const seen: string[] = [];
    const next = (fd: OwnedFd): void => {
      seen.push(identity(fd.fd));
      fd.close();
      if (seen.length === 100) resolve(seen);
      else other.pushRecvFh(next);
    };
    const more = (): void => {
      if (files.length === 100) return;
      const fd = anonymousFile();
      files.push(identity(fd));
      one.pushSendFh(fd, more);
    };
    other.pushRecvFh(next);
    more();
  });
  assert.deepEqual(received, files);
  one.destroy();
  other.destroy();
});

// ---- callbacks that misbehave

test('a callback that throws does not stop the others', async () => {
  for (const batch of [3, 1, 253].slice(0, amount(3, 1))) {
    const child = startChild('passer/throwing', { args: [String(batch)] });
    const end = ended(child);
    const { calls, caught } = await message<{ calls: string[]; caught: string[] }>(child);
    for (const what of ['sent', 'received']) {
      const of = (lines: string[]): string[] => lines.filter((line) => line.startsWith(what));
      assert.deepEqual(
        of(calls),
        [0, 1, 2, 3, 4, 5].map((i) => `${what} ${i}`),
      );
      assert.deepEqual(
        of(caught),
        [0, 2, 4].map((i) => `${what} ${i}`),
      );
    }
    const { code, signal, stderr } = await end;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  }
});

test('a callback that destroys the passer is the last one called, and the descriptors behind it are closed', async () => {
  for (const batch of [1, 10]) {
    const [a, b] = socketpair();
    const [passer, life] = observed({ fh: a });
    const peer = new FdPasser({ fh: b, batch });
    const files = pushFiles(peer, 10);
    await peer.close();
    const received: string[] = [];
    for (let i = 0; i < 3; i++)
      passer.pushRecvFh((fd) => {
        received.push(identity(fd.fd));
        fd.close();
        if (i === 1) passer.destroy();
      });
    const refused = passer.receive();
    await assert.rejects(refused, { code: 'ERR_FDPASSER_CLOSED', message: /destroy\(\) was called/ });
    await life.over();
    assert.deepEqual(received, files.slice(0, 2));
    assert.deepEqual([life.reports, life.closes], [[], 1]);
  }
});

test('a sent callback that destroys the passer stops the sends behind it', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const other = new FdPasser({ fh: b });
  passer.pushSendFh(anonymousFile(), () => passer.destroy());
  pushFiles(passer, TOO_MANY);
  passer.pushSendFh(anonymousFile(), unexpected);
  await life.over();
  assert.deepEqual([life.reports, life.closes], [[], 1]);
  other.destroy();
});

// ---- messages with several descriptors

test('batch and payload determine the messages on the wire', async () => {
  const [a, b] = socketpair();
  const passer = new FdPasser({ fh: a, batch: 253, payload: Buffer.from('ab') });
  const child = startPython(SHOW_MESSAGES, b);
  b.close();
  const end = ended(child);
  const files = pushFiles(passer, 600);
  await passer.close();
  const { code, signal, stdout, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  const shown = stdout.trimEnd().split('\n');
  assert.deepEqual(
    shown.filter((line) => line.startsWith('message')),
    ["message b'ab' 253", "message b'ab' 253", "message b'ab' 94"],
  );
  assert.deepEqual(
    shown.filter((line) => !line.startsWith('message')),
    files,
  );
});

const SHOW_MESSAGES = `
import os, socket
s = socket.socket(fileno=3)
s.setblocking(True)
while True:
    data, fds, _, _ = socket.recv_fds(s, 100, 253)
    if not data: break
    print('message', data, len(fds))
    for fd in fds:
        stat = os.fstat(fd)
        print(f'{stat.st_dev}:{stat.st_ino}')
        os.close(fd)
`;

test('messages of many descriptors and of several bytes arrive in order', async () => {
  for (const type of ['stream', 'seqpacket', 'dgram'] as const)
    for (const batch of [1, 16, 253])
      for (const bytes of [1, 2, 64]) {
        const [one, other] = connected({ type, batch, payload: Buffer.alloc(bytes) });
        const files = pushFiles(one, 600);
        assert.deepEqual(await askFor(other, 300), numbered(files.slice(0, 300)));
        assert.deepEqual(await receiveFiles(other, 300), files.slice(300));
        one.destroy();
        other.destroy();
      }
});

test('descriptors that came in one message with a received one wait for the next receives', async () => {
  const [a, b] = socketpair();
  const passer = new FdPasser({ fh: a });
  const peer = new FdPasser({ fh: b, batch: 3 });
  const files = pushFiles(peer, 6);
  assert.deepEqual(await receiveFiles(passer, 1), files.slice(0, 1));
  await turns();
  const control = new AbortController();
  const aborted = passer.receive({ signal: control.signal });
  control.abort();
  await assert.rejects(aborted, { name: 'AbortError' });
  let called = false;
  passer.pushRecvFh((fd) => {
    called = true;
    fd.close();
  });
  assert.equal(called, false);
  await turns();
  assert.equal(called, true);
  assert.deepEqual(await receiveFiles(passer, 4), files.slice(2));
  passer.destroy();
  peer.destroy();
});

test('descriptors that nobody asked for are closed with the passer', async () => {
  for (const method of ['close', 'destroy'] as const) {
    const before = openDescriptors();
    const [a, b] = socketpair();
    const passer = new FdPasser({ fh: a });
    const peer = new FdPasser({ fh: b, batch: 100 });
    pushFiles(peer, 100);
    await receiveFiles(passer, 1);
    await peer.close();
    assert.equal(leftOpen(before).length, 100); // 99 files and a socket
    await passer[method]();
    assert.deepEqual(leftOpen(before), []);
  }
});

// ---- iterating

test('for await brings descriptors until the peer ends', async () => {
  const [one, other] = connected();
  const files = pushFiles(one, 10);
  await one.close();
  const received: string[] = [];
  for await (const fd of other) {
    received.push(identity(fd.fd));
    fd.close();
  }
  assert.deepEqual(received, files);
});

test('leaving a for await loses nothing', async () => {
  const [one, other] = connected();
  const files = pushFiles(one, 3);
  const received: string[] = [];
  for await (const fd of other) {
    received.push(identity(fd.fd));
    fd.close();
    break;
  }
  assert.deepEqual([...received, ...(await receiveFiles(other, 2))], files);
  const iterator = other[Symbol.asyncIterator]();
  const pending = iterator.next();
  await iterator.return!();
  assert.deepEqual(await pending, { done: true, value: undefined });
  assert.deepEqual(pushFiles(one, 1), await receiveFiles(other, 1));
  one.destroy();
  other.destroy();
});

test('for await ends with the passer, and throws what broke it', async () => {
  const [one, other] = connected();
  const loop = async (): Promise<void> => {
    for await (const fd of other) fd.close();
  };
  const looping = loop();
  await turns();
  await other.close();
  await looping;
  one.destroy();

  const [a, b] = socketpair();
  const passer = new FdPasser({ fh: a });
  const pending = passer[Symbol.asyncIterator]().next();
  passer.destroy(new Error('broken'));
  await assert.rejects(pending, /broken/);
  b.close();
});

// ---- the life of the process

/** Starts a child that nothing else keeps alive, and collects its reports. */
function startLife(doing: string): { passer: FdPasser; child: ChildProcess; reports: string[] } {
  const passer = new FdPasser();
  const child = startChild('passer/lifetime', { args: [doing], peer: passer.peer });
  passer.iAmParent();
  const reports: string[] = [];
  child.on('message', (line: string) => reports.push(line));
  return { passer, child, reports };
}

/** Waits until the child has begun, and has nothing to do but wait. */
async function asleep({ child, reports }: ReturnType<typeof startLife>): Promise<void> {
  await until(() => reports.includes('began'));
  await until(() => readFileSync(`/proc/${child.pid}/stat`, 'utf8').includes(') S '));
}

for (const [doing, expected] of [
  ['nothing', ['began', 'nothing left to do']],
  ['aborted receive', ['began', 'aborted', 'nothing left to do']],
  ['destroy with pending', ['began', 'refused', 'nothing left to do']],
] as const) {
  test(`a process whose passer is idle exits by itself: ${doing}`, async () => {
    const life = startLife(doing);
    const { code, signal, stderr } = await ended(life.child);
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    assert.deepEqual(life.reports, expected);
    life.passer.destroy();
  });
}

for (const doing of ['receive', 'receive once', 'iterate'] as const) {
  test(`a process lives while it waits to receive: ${doing}`, async () => {
    const life = startLife(doing);
    const end = ended(life.child);
    await asleep(life);
    const files = pushFiles(life.passer, 1);
    await until(() => life.reports.length > 1);
    if (doing === 'iterate') life.passer.destroy();
    const { code, signal, stderr } = await end;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    assert.deepEqual(life.reports, ['began', ...files, 'nothing left to do']);
    life.passer.destroy();
  });
}

for (const doing of ['send', 'close with unsent'] as const) {
  test(`a process lives while something waits to be sent: ${doing}`, async () => {
    const life = startLife(doing);
    const end = ended(life.child);
    await asleep(life);
    const files = await receiveFiles(life.passer, TOO_MANY);
    assert.equal(new Set(files).size, TOO_MANY);
    const { code, signal, stderr } = await end;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    assert.deepEqual(life.reports, ['began', 'nothing left to do']);
    life.passer.destroy();
  });
}

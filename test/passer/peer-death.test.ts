import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { closeSync, fstatSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { FdPasser, socketpair } from 'fdpasser';
import { ended, startPython, type Ended } from '../support/child.js';
import { anonymousFile, identity } from '../support/descriptors.js';
import { TOO_MANY, connected, observed, pushFiles, receiveFiles, turns, unexpected } from '../support/passing.js';
import { order, startPeer } from '../support/peer.js';
import { test } from '../support/test.js';

const GONE = /EPIPE|ECONNRESET/;

async function endInOrder(child: ChildProcess): Promise<void> {
  const end = ended(child);
  await order(child, 'close');
  assertEnded(await end, { code: 0, signal: null });
}

async function kill(child: ChildProcess): Promise<void> {
  const end = ended(child);
  child.kill('SIGKILL');
  assertEnded(await end, { code: null, signal: 'SIGKILL' });
}

function assertEnded({ code, signal, stderr }: Ended, expected: Pick<Ended, 'code' | 'signal'>): void {
  assert.deepEqual({ code, signal, stderr }, { ...expected, stderr: '' });
}

for (const [death, end] of [
  ['ends in order', endInOrder],
  ['is killed', kill],
] as const) {
  for (const left of [0, 3]) {
    test(`a peer that ${death} after receiving all we sent, with ${left} of its own not received, ends in order`, async () => {
      const [passer, life] = observed();
      const child = startPeer(passer);
      const received = order(child, 'receive', 2);
      assert.deepEqual(pushFiles(passer, 2), await received);
      const files = await order(child, 'send', left);
      await end(child);
      assert.deepEqual(await receiveFiles(passer, left), files);
      await life.over();
      assert.deepEqual([life.reports, life.closes], [[undefined], 1]);
    });

    test(`a peer that ${death} with much of ours unsent, and ${left} of its own unread, is an error`, async () => {
      const [passer, life] = observed();
      const errors: Error[] = [];
      passer.on('error', (error) => errors.push(error));
      const child = startPeer(passer);
      const files = await order(child, 'send', left);
      const firstSent = new Promise<void>((resolve) => passer.pushSendFh(anonymousFile(), resolve));
      pushFiles(passer, TOO_MANY);
      const last = anonymousFile();
      const given = passer.send(last);
      await firstSent;
      await Promise.all([assert.rejects(given, { code: GONE }), end(child)]);
      closeSync(last);
      assert.deepEqual(await receiveFiles(passer, left), files);
      await life.over();
      assert.equal(life.closes, 1);
      assert.match(String(life.reports[0]), GONE);
      assert.equal(life.reports.length, 1);
      assert.deepEqual(errors, life.reports);
    });

    test(`a peer that ${death} with some of ours unread, and ${left} of its own too, is an error`, async () => {
      const [passer, life] = observed();
      const child = startPeer(passer);
      const files = await order(child, 'send', left);
      await passer.send(anonymousFile());
      await end(child);
      assert.deepEqual(await receiveFiles(passer, left), files);
      await life.over();
      assert.equal(life.closes, 1);
      assert.equal(life.reports.length, 1);
      assert.match(String(life.reports[0]), GONE);
    });
  }
}

test('an idle passer notices the end of its peer', async () => {
  for (const type of ['stream', 'seqpacket'] as const) {
    const [a, b] = socketpair({ type });
    const [, life] = observed({ fh: a });
    await turns();
    b.close();
    await life.over();
    assert.deepEqual([life.reports, life.closes], [[undefined], 1]);
  }
});

test('a receive that waits rejects when the peer ends, with that reason', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const first = passer.receive();
  const second = passer.receive();
  b.close();
  for (const waiting of [first, second])
    await assert.rejects(waiting, { code: 'ERR_FDPASSER_CLOSED', message: /closed: the peer closed its end/ });
  await life.over();
});

test('a receive that waits rejects with the error that broke the passer', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const waiting = passer.receive();
  await passer.send(anonymousFile());
  b.close();
  await assert.rejects(waiting, { code: 'ECONNRESET', syscall: 'recvmsg' });
  await life.over();
  assert.equal(life.reports.length, 1);
});

test('calls after the end of the peer throw or reject, say why, and take nothing over', async () => {
  for (const [broken, reason] of [
    [false, /the peer closed its end/],
    [true, GONE],
  ] as const) {
    const [a, b] = socketpair();
    const [passer, life] = observed({ fh: a });
    if (broken) await passer.send(anonymousFile());
    b.close();
    await life.over();
    const fd = anonymousFile();
    const refusal = (error: Error): boolean => {
      assert.equal((error as NodeJS.ErrnoException).code, 'ERR_FDPASSER_CLOSED');
      assert.match(error.message, reason);
      assert.equal(error.cause, life.reports[0]);
      return true;
    };
    assert.throws(() => passer.pushSendFh(fd), refusal);
    assert.throws(() => passer.pushRecvFh(unexpected), refusal);
    await assert.rejects(passer.send(fd), refusal);
    await assert.rejects(passer.receive(), refusal);
    closeSync(fd);
    await passer.close();
    passer.destroy(new Error('too late'));
    await turns();
    assert.deepEqual([life.reports.length, life.closes], [1, 1]);
  }
});

test('calls after close() or destroy() give that as the reason', async () => {
  for (const method of ['close', 'destroy'] as const) {
    const [one, other] = connected();
    await one[method]();
    assert.throws(() => one.pushRecvFh(unexpected), {
      code: 'ERR_FDPASSER_CLOSED',
      message: new RegExp(`closed: ${method}\\(\\) was called`),
    });
    other.destroy();
  }
});

test('descriptors that the peer sent before it ended are received even if they are asked for only after a failed send', async () => {
  for (const type of ['stream', 'seqpacket'] as const) {
    const [a, b] = socketpair({ type });
    const [passer, life] = observed({ fh: a });
    const peer = new FdPasser({ fh: b });
    const files = pushFiles(peer, 3);
    await peer.close();
    const fd = anonymousFile();
    await assert.rejects(passer.send(fd), { code: 'EPIPE', syscall: 'sendmsg' });
    await assert.rejects(passer.send(fd), { code: 'ERR_FDPASSER_CLOSED', message: /EPIPE/ });
    closeSync(fd);
    assert.equal(life.closes, 0);
    assert.deepEqual(await receiveFiles(passer, 3), files);
    await life.over();
    assert.equal((life.reports[0] as NodeJS.ErrnoException).code, 'EPIPE');
    assert.deepEqual([life.reports.length, life.closes], [1, 1]);
  }
});

test('descriptors that the peer sent in one message before it ended are received, however late they are asked for', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const peer = new FdPasser({ fh: b, batch: 3 });
  const files = pushFiles(peer, 3);
  await peer.close();
  const received = await receiveFiles(passer, 1);
  await turns();
  assert.equal(life.closes, 0);
  assert.deepEqual([...received, ...(await receiveFiles(passer, 2))], files);
  await life.over();
  assert.deepEqual([life.reports, life.closes], [[undefined], 1]);
});

test('a peer that only shuts down its writing half still gets all that is queued', async () => {
  const [passer, life] = observed();
  const child = startPython(RECEIVE_WITH_HALF_A_SOCKET, passer.peer);
  passer.iAmParent();
  const lines = createInterface(child.stdout!)[Symbol.asyncIterator]();
  const end = ended(child);
  const files = pushFiles(passer, TOO_MANY);
  assert.equal((await lines.next()).value, 'shut down');
  await turns();
  assert.equal(life.closes, 0);
  child.stdin!.end('go on\n');
  const received: string[] = [];
  for await (const line of lines) received.push(line);
  assert.deepEqual(received, files);
  assertEnded(await end, { code: 0, signal: null });
  await life.over();
  assert.deepEqual([life.reports, life.closes], [[undefined], 1]);
});

const RECEIVE_WITH_HALF_A_SOCKET = `
import os, socket, sys
s = socket.socket(fileno=3)
s.setblocking(True)
s.shutdown(socket.SHUT_WR)
print('shut down', flush=True)
sys.stdin.readline()
while True:
    data, fds, _, _ = socket.recv_fds(s, 1, 1)
    if not data: break
    stat = os.fstat(fds[0])
    print(f'{stat.st_dev}:{stat.st_ino}')
    os.close(fds[0])
`;

test('close() sends what is queued before it closes, without an error', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const peer = new FdPasser({ fh: b });
  const files = pushFiles(passer, TOO_MANY);
  const refused = assert.rejects(passer.receive(), { code: 'ERR_FDPASSER_CLOSED' });
  const closed = passer.close();
  assert.throws(() => passer.pushRecvFh(unexpected), { code: 'ERR_FDPASSER_CLOSED' });
  await refused;
  assert.deepEqual(await receiveFiles(peer, TOO_MANY), files);
  await Promise.all([closed, life.over()]);
  assert.deepEqual([life.reports, life.closes], [[], 1]);
  await assert.rejects(peer.receive(), { message: /the peer closed its end/ });
});

test('destroy() sends nothing more: pushed descriptors are closed, those of send() given back', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const peer = new FdPasser({ fh: b });
  const pushed = anonymousFile();
  passer.pushSendFh(pushed, assert.fail);
  const fd = anonymousFile();
  const file = identity(fd);
  const given = passer.send(fd);
  passer.destroy();
  await assert.rejects(given, { code: 'ERR_FDPASSER_CLOSED', message: /destroy\(\) was called/ });
  assert.throws(() => fstatSync(pushed), { code: 'EBADF' });
  assert.equal(identity(fd), file);
  closeSync(fd);
  await assert.rejects(peer.receive(), { message: /the peer closed its end/ });
  await life.over();
  assert.deepEqual([life.reports, life.closes], [[], 1]);
});

test('destroy(error) reports that error once and rejects with it', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const errors: Error[] = [];
  passer.on('error', (error) => errors.push(error));
  const waiting = passer.receive();
  const reason = new Error('enough');
  passer.destroy(reason);
  passer.destroy(new Error('again'));
  await assert.rejects(waiting, reason);
  await life.over();
  assert.deepEqual([life.reports, errors, life.closes], [[reason], [reason], 1]);
  assert.throws(() => passer.pushRecvFh(unexpected), { message: /closed: enough/, cause: reason });
  b.close();
});

test('close() resolves when the peer ends before it got everything', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  pushFiles(passer, TOO_MANY);
  const last = anonymousFile();
  const given = passer.send(last);
  const closed = passer.close();
  await turns();
  b.close();
  await assert.rejects(given, { code: GONE });
  closeSync(last);
  await Promise.all([closed, life.over()]);
  assert.equal(life.reports.length, 1);
  assert.match(String(life.reports[0]), GONE);
});

import assert from 'node:assert/strict';
import { FdPasser } from 'fdpasser';
import { ended, startChild } from '../support/child.js';
import { connected, pushFiles, receiveFiles } from '../support/passing.js';
import { test } from '../support/test.js';

/** Makes a passer, and sends its other end over one. */
async function nest(outer: FdPasser): Promise<FdPasser> {
  const inner = new FdPasser();
  await outer.send(inner.peer);
  inner.iAmParent();
  return inner;
}

async function exchange(one: FdPasser, other: FdPasser): Promise<void> {
  assert.deepEqual(pushFiles(one, 10), await receiveFiles(other, 10));
  assert.deepEqual(pushFiles(other, 10), await receiveFiles(one, 10));
}

test('the socket of a passer, passed over a passer, is a passer at the other end', async () => {
  for (const type of ['stream', 'seqpacket', 'dgram'] as const) {
    const [one, other] = connected({ type });
    const here = await nest(one);
    const there = new FdPasser({ fh: await other.receive() });
    await exchange(here, there);
    await exchange(one, other);
    await one.close();
    other.destroy();
    await exchange(here, there);
    await here.close();
    await assert.rejects(there.receive(), { message: /the peer closed its end/ });
  }
});

test('passers pass passers three levels deep', async () => {
  const [one, other] = connected();
  const here = [one];
  const there = [other];
  for (let depth = 0; depth < 3; depth++) {
    here.unshift(await nest(here[0]!));
    there.unshift(new FdPasser({ fh: await there[0]!.receive() }));
  }
  for (const [i, passer] of here.entries()) await exchange(passer, there[i]!);
  for (const passer of [...here, ...there]) passer.destroy();
});

test('descriptors sent into a passer while its other end was in flight arrive', async () => {
  const [one, other] = connected();
  const middle = await nest(one);
  const inner = await nest(middle);
  const files = pushFiles(inner, 100);
  await inner.close();
  await Promise.all([middle.close(), one.close()]);
  await using outer = new FdPasser({ fh: await other.receive() });
  await using last = new FdPasser({ fh: await outer.receive() });
  assert.deepEqual(await receiveFiles(last, 100), files);
  other.destroy();
});

test('a passer that nobody receives ends when the one that carried it does', async () => {
  const [one, other] = connected();
  const inner = await nest(one);
  const waiting = inner.receive();
  one.destroy();
  other.destroy();
  await assert.rejects(waiting, { code: 'ERR_FDPASSER_CLOSED', message: /the peer closed its end/ });
});

for (const depth of [1, 3])
  test(`a passer reaches a child process over passers, ${depth} deep`, async () => {
    let passer = new FdPasser();
    const child = startChild('passer/nested', { args: [String(depth)], peer: passer.peer });
    const end = ended(child);
    passer.iAmParent();
    for (let i = 0; i < depth; i++) {
      const inner = await nest(passer);
      await passer.close();
      passer = inner;
    }
    assert.deepEqual(pushFiles(passer, 100), await receiveFiles(passer, 100));
    await passer.close();
    const { code, signal, stderr } = await end;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  });

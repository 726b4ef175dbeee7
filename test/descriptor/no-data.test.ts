import assert from 'node:assert/strict';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { serialize } from 'node:v8';
import { MessageChannel, Worker } from 'node:worker_threads';
import { FdChannel, FdPasser, OwnedFd, socketpair } from 'fdpasser';
import { identity } from '../support/descriptors.js';
import { test } from '../support/test.js';

const REFUSED = /an OwnedFd, which is no data: send it over .*take\(\) .*could not be cloned/;
const open = (): OwnedFd => new OwnedFd(openSync('/dev/null', 'r'));

/** A class that would be copied as an OwnedFd would, if it did not refuse. */
class Naive {
  #fd = 1;
  get fd(): number {
    return this.#fd;
  }
}

test('each way to copy an object refuses an OwnedFd, and makes an empty object of a similar class', () => {
  using owned = open();
  const { port1, port2 } = new MessageChannel();
  assert.deepEqual(structuredClone(new Naive()), {});
  for (const value of [owned, { inside: [owned] }]) {
    assert.throws(() => structuredClone(value), { name: 'DataCloneError', message: REFUSED });
    assert.throws(() => port1.postMessage(value), { name: 'DataCloneError', message: REFUSED });
    assert.throws(() => new Worker('', { eval: true, workerData: value }), {
      name: 'DataCloneError',
      message: REFUSED,
    });
    assert.throws(() => serialize(value), REFUSED);
    assert.throws(() => JSON.stringify(value), { code: 'ERR_FDPASSER_NO_DATA' });
  }
  port1.close();
  port2.close();
  assert.ok(!owned.closed);
});

test('a channel refuses an OwnedFd in a value, with each codec, and it is still the caller’s', async () => {
  for (const codec of ['json', 'structured'] as const) {
    const [near, far] = socketpair();
    await using channel = new FdChannel(near, { codec });
    await using other = new FdChannel(far, { codec });
    using owned = open();
    const of = identity(owned.fd);
    await assert.rejects(
      channel.send({ owned }),
      codec === 'json' ? { code: 'ERR_FDPASSER_NO_DATA' } : { message: REFUSED },
    );
    await channel.send('beside', [owned]);
    using message = await other.receive();
    assert.equal(identity(message.fds[0]!.fd), of);
  }
});

test('two OwnedFds of different descriptors are not deeply equal', () => {
  using one = open();
  using other = open();
  assert.notEqual(one, other);
  assert.deepEqual(Object.keys(one), Object.keys(other));
});

test('a worker gets an end of a pair as the number that take() gives, and owns it', async () => {
  const [near, far] = socketpair();
  const worker = new Worker(new URL('children/worker-end.js', import.meta.url));
  worker.postMessage(far.take());
  await using passer = new FdPasser({ fh: near });
  using owned = open();
  const of = identity(owned.fd);
  const sent = passer.send(owned, { keepOpen: true });
  using back = await passer.receive();
  assert.equal(identity(back.fd), of);
  await sent;
  const [code] = (await once(worker, 'exit')) as [number];
  assert.equal(code, 0);
});

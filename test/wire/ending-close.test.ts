/** close() must end whatever an application does with the events of a wire. */
import assert from 'node:assert/strict';
import { FdChannel, FdPasser, socketpair } from 'fdpasser';
import { ended, startChild } from '../support/child.js';
import { turns } from '../support/passing.js';
import { test } from '../support/test.js';
import { unready } from '../support/unready.js';

const WIRES = {
  passer: (fh: ReturnType<typeof socketpair>[0]) => new FdPasser({ fh }),
  channel: (fh: ReturnType<typeof socketpair>[0]) => new FdChannel(fh),
};

for (const [name, open] of Object.entries(WIRES)) {
  test(`close() of a ${name} resolves though all listeners are removed`, async () => {
    const [a, b] = socketpair();
    const wire = open(a);
    const closed = wire.close();
    wire.removeAllListeners();
    await closed;
    await wire.close();
    b.close();
  });

  test(`close() of a ${name} may be called any number of times`, async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    const [a, b] = socketpair();
    const wire = open(a);
    const { socket, release } = await unready();
    const sent = wire instanceof FdPasser ? wire.send(socket) : wire.send(null, [socket]);
    const refused = assert.rejects(sent);
    const closes = Array.from({ length: 20 }, () => wire.close());
    assert.equal(wire.listenerCount('close'), 0);
    await turns();
    release();
    b.close();
    await Promise.all([refused, ...closes]);
    await turns();
    process.off('warning', onWarning);
    assert.deepEqual(warnings, []);
  });

  test(`a ${name} ends, and close() resolves, though onError and each listener throw`, async () => {
    const { code, signal, stdout, stderr } = await ended(startChild('wire/ending-throws', { args: [name] }));
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    assert.deepEqual(stdout.trim().split('\n').toSorted(), [
      'caught in close',
      'caught in error',
      'caught in onError',
      'closed',
      'refused: the reason',
    ]);
  });
}

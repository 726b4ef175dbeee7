import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { freePort } from '../support/connection.js';
import { until } from '../support/descriptors.js';
import { ask, Load } from '../support/takeover.js';
import { test, testInFull } from '../support/test.js';
import { app, Unmodified } from '../support/unmodified.js';

const launcher = fileURLToPath(new URL('children/launcher.js', import.meta.url));
const two = fileURLToPath(new URL('children/two.js', import.meta.url));
const launched = [process.execPath, launcher, app];

test('a program that dies and that its launcher starts again takes part in its place', async () => {
  await using service = await Unmodified.start('one', launched);
  const { pid } = service;
  process.kill(pid, 'SIGKILL');
  await until(() => service.pid !== pid);
  assert.equal(await service.ask(), `one ${service.pid}`);
  service.behave('two');
  const { code, stderr } = await service.reload();
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  assert.equal(await service.ask(), `two ${service.pid}`);
});

testInFull(
  'a launcher that would start the replaced program again is told to end, and takes nothing back',
  async () => {
    await using service = await Unmodified.start('one', launched);
    const load = new Load({ port: service.port });
    service.behave('two');
    const { code, stdout } = await service.reload();
    assert.equal(code, 0);
    assert.match(stdout, /^\d+ serves, and \d+ drains\.\n\d+ has ended\.\n$/);
    assert.equal(await service.ask(), `two ${service.pid}`);
    await load.stop();
    assert.deepEqual(load.errors, []);
    assert.equal(load.pids.size, 2);
    service.child.kill('SIGTERM');
    assert.equal((await service.end).code, 0, service.stderr);
    assert.doesNotMatch(service.stderr, /killed/);
  },
);

testInFull('what stands between and outlives the program is ended, and the program started again', async () => {
  const idle = ['sh', '-c', `'${process.execPath}' '${app}'; exec sleep 1000`];
  await using service = await Unmodified.start('one', idle, ['--start-timeout', '6']);
  const { pid } = service;
  await assert.rejects(service.ask('/crash'));
  await service.says(/ has ended, and what started it started no other: that is killed/);
  await until(() => service.status.length === 1 && service.pid !== pid);
  assert.equal(await service.ask(), `one ${service.pid}`);
});

testInFull('of two processes that listen the first takes part, and the second is told that it does not', async () => {
  const second = await freePort();
  await using service = await Unmodified.start('', [process.execPath, two, `${second}`]);
  await service.says(new RegExp(`tcp:127\\.0\\.0\\.1:${second} will not be handed over: another process`));
  await service.says(/the second listens/);
  const { pid } = service;
  const answer = await ask({ port: second });
  assert.match(answer, /^second \d+$/);
  assert.equal((await service.reload()).code, 0);
  assert.notEqual(service.pid, pid);
  assert.equal(await service.ask(), `first ${service.pid}`);
  // Nobody, or a second one that began when the port was free again.
  const after = await ask({ port: second }).catch((error: NodeJS.ErrnoException) => error.code);
  assert.notEqual(after, answer);
  assert.match(after!, /^(ECONNREFUSED|second \d+)$/);
});

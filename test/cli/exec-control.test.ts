/** What may go wrong at the control path of `fdpasser exec`, and what others may do there. */
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { FdChannel, OwnedFd } from 'fdpasser';
import { ended, type Ended } from '../support/child.js';
import { anonymousFile, until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { isStopped } from '../support/takeover.js';
import { test, testInFull } from '../support/test.js';
import { Unmodified } from '../support/unmodified.js';

const control = (service: Unmodified): string => service.folder.at('control');
const generation = ({ status }: Unmodified): number => Number(status[0]!.split(':')[0]);

function reload(service: Unmodified, ...options: string[]): Promise<Ended> {
  return ended(service.folder.start(['reload', ...options, 'control']));
}

async function stopped(pid: number, body: () => Promise<void>): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  try {
    await until(() => isStopped(pid));
    await body();
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

test('a reload of an exec that is stopped ends, names it, and replaces nothing when it goes on', async () => {
  await using service = await Unmodified.start('one');
  const { pid } = service.child;
  await stopped(pid!, async () => {
    const { code, stdout, stderr } = await reload(service, '--timeout', '0.3');
    assert.deepEqual([code, stdout], [1, '']);
    assert.equal(
      stderr,
      `fdpasser: "fdpasser exec", process ${pid}, has not answered within 0.3 s. Nothing is replaced. If it is ` +
        `stopped, "kill -CONT ${pid}" has it go on.\n`,
    );
  });
  service.behave('two');
  assert.equal((await reload(service)).code, 0);
  assert.equal(generation(service), 2);
});

testInFull(
  'a reload ends when exec is stopped in the middle, and the replacement is over when exec goes on',
  async () => {
    await using service = await Unmodified.start('one', 'node', ['--interval', '1']);
    const { pid } = service.child;
    service.behave('two');
    const asked = reload(service, '--timeout', '0.5');
    await until(() => childrenOf(pid!) === 2);
    await stopped(pid!, async () => {
      const { code, stderr } = await asked;
      assert.equal(code, 1);
      assert.match(
        stderr,
        /has not answered within 0\.5 s\. The replacement has begun, and will be over when it goes on/,
      );
    });
    await until(() => generation(service) === 2);
  },
);

testInFull('a reload that is itself stopped for a while goes on', async () => {
  await using service = await Unmodified.start('one', 'node', ['--interval', '3']);
  const child = service.folder.start(['reload', '--timeout', '1.5', 'control']);
  const end = ended(child);
  await until(() => childrenOf(service.child.pid!) === 2);
  await stopped(child.pid!, () => until(() => generation(service) === 2));
  assert.equal((await end).code, 0);
});

function childrenOf(pid: number): number {
  const { length } = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean);
  return length;
}

/** Those that exec has open. */
function descriptorsOf(service: Unmodified): number {
  return readdirSync(`/proc/${service.child.pid}/fd`).length;
}

test('many connections that say nothing take few descriptors, and a reload is answered', async () => {
  await using service = await Unmodified.start('one');
  const before = descriptorsOf(service);
  const silent: Socket[] = [];
  for (let count = 0; count < 300; count++) {
    const socket = connect(control(service)).on('error', () => {});
    silent.push(socket);
    await once(socket, 'connect');
  }
  const idle = await Promise.all(Array.from({ length: 100 }, () => FdChannel.connect(control(service))));
  assert.ok(descriptorsOf(service) - before < 80, `${descriptorsOf(service) - before}`);
  const { code, stderr } = await reload(service);
  assert.deepEqual([code, stderr], [0, '']);
  for (const each of [...silent, ...idle]) each.destroy();
  await until(() => descriptorsOf(service) <= before);
});

const WRONG: Record<string, (service: Unmodified) => Promise<unknown>> = {
  'bytes of another protocol': async (service) => connect(control(service)).end('GET / HTTP/1.1\r\n\r\n').resume(),
  'half a message': async (service) => {
    const whole = connect(control(service));
    const [hello] = (await once(whole, 'data')) as [Buffer];
    whole.end(Buffer.concat([hello, hello.subarray(0, 5)])).resume();
  },
  'nothing to read': async (service) => {
    const channel = await FdChannel.connect(control(service));
    channel.destroy();
  },
};

for (const value of [null, 'reload', 7, [], {}, { ask: 5 }, { ask: 'nothing' }, { ask: ['reload'] }])
  WRONG[`the value ${JSON.stringify(value)} with descriptors`] = async (service) => {
    const channel = await FdChannel.connect(control(service));
    const fd = new OwnedFd(anonymousFile());
    await channel.send(value, [fd]);
    let last: unknown;
    for await (const message of channel) last = message.value;
    assert.deepEqual(last, { failed: 'Only "reload" is understood' });
    await channel.close();
  };

test('whatever comes at the control path, exec serves on, leaves nothing open, and can be reloaded', async () => {
  await using service = await Unmodified.start('one');
  const { pid } = service;
  const before = descriptorsOf(service);
  for (const act of Object.values(WRONG)) for (let times = 0; times < 5; times++) await act(service);
  await until(() => descriptorsOf(service) <= before);
  assert.equal(service.pid, pid);
  assert.match(service.stderr, /^fdpasser: \d+ serves, generation 1\.\n$/);
  assert.deepEqual((await reload(service)).code, 0);
});

test('exec ends with its program though somebody who asks nothing is connected', async () => {
  await using service = await Unmodified.start('one');
  const idle = await FdChannel.connect(control(service));
  await idle.receive();
  service.child.kill('SIGTERM');
  assert.equal((await service.end).code, 143);
  idle.destroy();
});

testInFull('of many reloads at once one is carried out, and the others are told why not', async () => {
  await using service = await Unmodified.start('one', 'node', ['--interval', '1']);
  const all = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const channel = await FdChannel.connect(control(service));
      channel.send({ ask: 'reload' }).catch(() => {});
      let last: unknown;
      for await (const { value } of channel) last = value;
      await channel.close();
      return JSON.stringify(last);
    }),
  );
  assert.equal(all.filter((last) => last === '{"done":true}').length, 1);
  assert.equal(all.filter((last) => last === '{"failed":"Another replacement is under way"}').length, 39);
  assert.equal(generation(service), 2);
});

test('a replacement is carried out when those who asked have gone, or do not read', async () => {
  await using service = await Unmodified.start('one');
  const before = descriptorsOf(service);
  const gone = await FdChannel.connect(control(service));
  await gone.send({ ask: 'reload' }, [], { confirm: true });
  gone.destroy();
  await until(() => generation(service) === 2);
  await service.says(/generation 2/);
  const deaf = await FdChannel.connect(control(service), { highWaterMark: 1 });
  await deaf.send({ ask: 'reload' });
  await until(() => generation(service) === 3);
  deaf.destroy();
  await until(() => descriptorsOf(service) <= before);
});

test(
  'another user has nothing replaced, even where the mode of the path is opened',
  async () => {
    needs('setpriv');
    await using service = await Unmodified.start('one');
    chmodSync(service.folder.path, 0o755);
    const other = async (): Promise<string> => {
      const asNobody = 'setpriv --reuid 65534 --clear-groups';
      const { stdout } = await service.folder.shell(`${asNobody} fdpasser reload control; echo $?`);
      return stdout;
    };
    assert.match(await other(), /^fdpasser: EACCES: .*\n1\n$/);
    chmodSync(control(service), 0o777);
    assert.match(await other(), /^fdpasser: .*\n1\n$/);
    assert.equal(generation(service), 1);
    assert.equal((await reload(service)).code, 0);
  },
  process.getuid?.() === 0 ? false : 'only root can be another user',
);

/** What a supervisor's program may do, and what then does not happen. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { supervise } from 'fdpasser/workers';
import { block } from '../support/block.js';
import { ended, startChild } from '../support/child.js';
import { until } from '../support/descriptors.js';
import { childFile, SupervisorProcess } from '../support/supervising.js';
import { test } from '../support/test.js';

const HOST = '127.0.0.1';

test('what the listener of an event throws is an uncaught exception, and no worker or client is lost', async () => {
  const { stdout, stderr } = await ended(startChild('workers/throwing'));
  assert.equal(stderr, '');
  assert.deepEqual(JSON.parse(stdout), {
    answers: ['200', '', '200', '200'],
    uncaught: ['error: pick', 'exit', 'ready', 'starting'],
  });
});

test('close waits for workers that scale has retired', async () => {
  const workers = supervise(childFile('workers/serve'), { count: 2, pick: 'turn', retire: 1000 });
  const { port } = await workers.listen({ port: 0, host: HOST });
  await until(() => workers.list.every(({ state }) => state === 'ready'));
  const running = new Set([0, 1]);
  workers.on('exit', ({ slot }) => running.delete(slot));
  const clients = ['/', '/block'].map((path) => {
    return connect(port, HOST)
      .on('error', () => {})
      .resume()
      .end(`GET ${path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n`);
  });
  await once(clients[0]!, 'close');
  await until(() => workers.list[1]!.load === 1);
  workers.scale(1);
  await workers.close();
  assert.deepEqual([...running], []);
});

test('what a killed worker has said counts: what it took is not given to another one, and what it gave back is', async () => {
  const workers = supervise(childFile('workers/last-words'), { count: 2, pick: (): number => first! });
  const { port } = await workers.listen({ port: 0, host: HOST });
  await until(() => workers.list.every(({ state }) => state === 'ready'));
  const first = workers.list[0]!.pid;
  let back = 0;
  workers.on('given-back', () => back++);
  process.kill(first!, 'SIGSTOP');
  const answers = [0, 1].map(async (count) => {
    const client = connect(port, HOST).setEncoding('utf8');
    let answer = '';
    client.on('data', (text: string) => (answer += text));
    await once(client, 'close').catch(() => {}); // reset
    return `${count} ${answer}`;
  });
  await until(() => workers.list[0]!.load === 2);
  process.kill(first!, 'SIGCONT');
  block(1000);
  assert.deepEqual(await Promise.all(answers), ['0 ', '1 1']);
  assert.equal(back, 0);
  await workers.close();
});

test('a worker with a timer ends when its supervisor is killed', async () => {
  const options = { count: 1, retire: 100 };
  await using supervisor = new SupervisorProcess({ file: childFile('workers/ticking'), options });
  await supervisor.ready(1);
  supervisor.child.kill('SIGKILL');
  await supervisor.end; // the worker has its standard output, too
});

for (const mode of ['worker', 'register'])
  test(`a worker that would supervise its own file as its ${mode} ends with an error`, async () => {
    const { stdout, stderr } = await ended(startChild('workers/recursive', { args: [mode] }));
    assert.match(stderr, /supervise\(\) with its own file/);
    assert.match(stdout, /^Worker 0 ends again and again/);
  });

test('many clients that have sent a part of their first bytes cause no warning', async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error): void => void warnings.push(warning);
  process.on('warning', warned);
  const seen = new Map<string, number>();
  const peek = {
    until: (first: Buffer) => {
      const text = first.toString();
      seen.set(text, (seen.get(text) ?? 0) + 1);
      return false;
    },
  };
  const workers = supervise(childFile('workers/serve'), { count: 1, peek });
  const { port } = await workers.listen({ port: 0, host: HOST });
  const clients = Array.from({ length: 20 }, (_, i) =>
    connect(port, HOST)
      .on('error', () => {})
      .end(`client ${i}`),
  );
  await until(() => seen.size === clients.length && [...seen.values()].every((times) => times > 3));
  await workers.close();
  process.off('warning', warned);
  for (const client of clients) client.destroy();
  assert.deepEqual(warnings, []);
});

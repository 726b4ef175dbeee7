import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { test } from '../support/test.js';

const example = fileURLToPath(new URL('../../../examples/balance.js', import.meta.url));

async function answer(port: number, path: string): Promise<string> {
  const request = get({ port, host: '127.0.0.1', path, agent: false });
  const [response] = (await once(request, 'response')) as [AsyncIterable<Buffer>];
  let text = '';
  for await (const bytes of response) text += bytes.toString();
  return text;
}

test('the workers of the balancer example answer in turn, one that ends is replaced, and the example ends with them', async () => {
  const parent = spawn(process.execPath, [example], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(parent, 'close');
  const lines = createInterface({ input: parent.stdout })[Symbol.asyncIterator]();
  const port = Number(/^listening on port (\d+)$/.exec((await lines.next()).value as string)![1]);
  const pids: string[] = [];
  const ask = async (): Promise<void> => {
    pids.push(/^\/\d answered by pid (\d+)\n$/.exec(await answer(port, `/${pids.length % 6}`))![1]!);
  };
  while (new Set(pids).size < 2) await ask(); // the other one is still starting
  pids.splice(0, pids.length - 2);
  for (let i = 0; i < 6; i++) await ask();
  pids.forEach((pid, i) => assert.equal(pid, pids[i % 2]));
  process.kill(Number(pids[0]), 'SIGKILL');
  for (let i = 0; i < 6; i++) assert.doesNotMatch(await answer(port, '/'), new RegExp(`pid ${pids[0]}\n`));
  parent.kill('SIGTERM');
  assert.deepEqual(await closed, [0, null]);
});

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ended } from '../support/child.js';
import { needs } from '../support/needs.js';
import { test } from '../support/test.js';

const cwd = fileURLToPath(new URL('../../../', import.meta.url));
const IMPORT = `import('fdpasser').then(() => console.log('imported'), (e) => console.log(e.code, e.syscall, e.message))`;

function evaluate(script: string, poller: string, before: string[] = []): ReturnType<typeof ended> {
  const command = [...before, process.execPath, '--input-type=module', '-e', script];
  const env = { ...process.env, FDPASSER_POLLER: poller };
  return ended(spawn(command[0]!, command.slice(1), { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] }));
}

for (const poller of ['uv', 'thread', ''])
  test(`the import takes '${poller}' as FDPASSER_POLLER`, async () => {
    const end = await evaluate(IMPORT, poller);
    assert.deepEqual(end, { code: 0, signal: null, stdout: 'imported\n', stderr: '' });
  });

for (const poller of ['uv', 'thread'])
  test(`two copies of the library, by one core, pass descriptors to each other and end: ${poller}`, async () => {
    const script = `
      const [one, other] = await Promise.all(['fdpasser', './dist/index.js'].map((name) => import(name)));
      const [a, b] = one.socketpair();
      const from = new one.FdPasser({ fh: a });
      const to = new other.FdPasser({ fh: b.take() });
      void from.send(0, { keepOpen: true });
      (await to.receive()).close();
      from.destroy();
      const { code } = await to.receive().catch((error) => error);
      console.log(code, one.FdPasser !== other.FdPasser);`;
    const end = await evaluate(script, poller);
    assert.deepEqual(end, { code: 0, signal: null, stdout: 'ERR_FDPASSER_CLOSED true\n', stderr: '' });
  });

test('the import refuses an unknown poller, and names the variable and its values', async () => {
  const { code, stdout } = await evaluate(IMPORT, 'kqueue');
  assert.equal(code, 0);
  assert.match(stdout, /^ERR_FDPASSER_POLLER .*FDPASSER_POLLER is 'kqueue'.*'uv' or 'thread'/);
});

test('the import reports when the thread of the poller cannot start', async () => {
  needs('prlimit', 'setpriv');
  // Node has already started its own threads. Root has no such limit.
  const script = `
    import { execFileSync } from 'node:child_process';
    import { readFile } from 'node:fs/promises';
    await Promise.all(Array.from({ length: 8 }, () => readFile('package.json')));
    execFileSync('prlimit', ['--pid', String(process.pid), '--nproc=1:1']);
    await ${IMPORT};`;
  const nobody = process.getuid!() === 0 ? ['setpriv', '--reuid=65534', '--clear-groups'] : [];
  const { code, stdout, stderr } = await evaluate(script, 'thread', nobody);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  assert.match(stdout, /^EAGAIN pthread_create .*limit of processes/);
});

test('one thread waits for the main thread and its workers alike, and blocks every signal', async () => {
  const script = `
    import { readFileSync, readdirSync } from 'node:fs';
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    await import('fdpasser');
    const workers = [1, 2].map(() => new Worker(
      "import('fdpasser').then(() => process.getBuiltinModule('node:worker_threads').parentPort.postMessage('up')); setInterval(() => {}, 1000)",
      { eval: true }));
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    const status = readdirSync('/proc/self/task').map((id) => readFileSync('/proc/self/task/' + id + '/status', 'utf8'));
    const pollers = status.filter((text) => text.startsWith('Name:\\tfdpasser-poll'));
    console.log(pollers.length, /SigBlk:\\s*(\\w+)/.exec(pollers[0])[1]);
    await Promise.all(workers.map((worker) => worker.terminate()));`;
  const { code, stdout, stderr } = await evaluate(script, 'thread');
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  // All but KILL, STOP and those that the C library keeps for itself.
  assert.match(stdout, /^1 ffffff/i);
});

for (const poller of ['uv', 'thread'])
  test(`events that come while others are handled wait until the loop has turned: ${poller}`, async () => {
    // Two ends of one pair write to each other, and give the poller time to report before they free the thread.
    const script = `
      const { FdStream, socketpair } = await import('fdpasser');
      const [one, other] = socketpair().map((end) => new FdStream(end));
      let times = 0;
      const answer = (stream) => (bytes) => {
        if (times++ === 0) setTimeout(tell, 1);
        stream.write(bytes);
        process.nextTick(() => {
          for (const end = performance.now() + 2; performance.now() < end; );
        });
      };
      const tell = () => {
        console.log(times < 20 ? 'in time' : 'after ' + times + ' messages');
        one.destroy();
        other.destroy();
      };
      one.on('data', answer(one));
      other.on('data', answer(other));
      one.write('.');`;
    const end = await evaluate(script, poller);
    assert.deepEqual(end, { code: 0, signal: null, stdout: 'in time\n', stderr: '' });
  });

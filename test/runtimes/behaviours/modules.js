// fdpasser/systemd works everywhere. fdpasser/takeover and fdpasser/workers can be imported everywhere, and say at once
// where they do not work.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { listenFds, notify } from 'fdpasser/systemd';
import { takeover } from 'fdpasser/takeover';
import { supervise, worker } from 'fdpasser/workers';
import { assertOrderly, ended, identity, newFile, pathFor, runtime } from './support.js';

/** One file that runs a command: an emulated runtime is more than its own file. */
function commandFile(command, args) {
  if (args.length === 0) return command;
  const file = pathFor('runtime');
  const quoted = [command, ...args].map((word) => `'${word}'`).join(' ');
  writeFileSync(file, `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
  return file;
}

await import('fdpasser/takeover/register');
await import('fdpasser/workers/register');

if (process.env.ROLE === 'worker') {
  const server = createServer((request, response) => response.setHeader('Connection', 'close').end('served'));
  worker().serve(server).ready();
} else if (process.env.LISTEN_FDS === '1') {
  const [passed] = listenFds().get('file');
  process.stdout.write(identity(passed.fd));
  passed.close();
} else {
  assert.equal(listenFds().size, 0);
  assert.equal(await notify({ READY: 1 }), false);
  const file = newFile();
  const [command, ...args] = JSON.parse(process.env.RUNTIME);
  const script = 'export LISTEN_PID=$$; exec "$@"';
  const child = spawn('sh', ['-c', script, 'sh', command, ...args, import.meta.filename], {
    stdio: ['ignore', 'pipe', 'inherit', file],
    env: { ...process.env, LISTEN_FDS: '1', LISTEN_FDNAMES: 'file' },
  });
  assert.equal(await assertOrderly(ended(child)), identity(file));

  if (runtime === 'node') {
    process.execPath = commandFile(command, args); // what supervise() starts
    const workers = supervise(import.meta.filename, {
      count: 1,
      takeover: pathFor('control'),
      env: { ROLE: 'worker' },
    });
    const { port } = await workers.listen({ port: 0, host: '127.0.0.1' });
    assert.equal(await (await fetch(`http://127.0.0.1:${port}`)).text(), 'served');
    await workers.close();
  } else {
    const refused = { code: 'ERR_FDPASSER_RUNTIME' };
    await assert.rejects(async () => takeover(pathFor('control')), refused);
    assert.throws(() => supervise(import.meta.filename), refused);
  }
  console.log('systemd works, and takeover and workers where they should');
}

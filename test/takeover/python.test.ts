import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ended } from '../support/child.js';
import { until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { ask, onSite } from '../support/takeover.js';
import { test } from '../support/test.js';

const EXAMPLE = fileURLToPath(new URL('../../../examples/python/takeover.py', import.meta.url));

test('a server in Python takes over from one in Node and back, and no connection is refused', () =>
  onSite(async ({ control, port, start, load }) => {
    needs('python3');
    const old = start({ options: { probation: 100 } });
    await old.tells('serving');
    const clients = load();
    await clients.answers(5);
    const { LD_PRELOAD: _, ...env } = process.env; // the guard is for Node alone
    const python = spawn('python3', ['-B', EXAMPLE, control, 'web'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const end = ended(python);
    let said = '';
    python.stdout.on('data', (chunk: unknown) => (said += String(chunk)));
    try {
      await until(() => said.includes('serves') || python.exitCode !== null);
      assert.equal((await old.end).code, 0);
      assert.equal(await ask({ port }), `${python.pid}`);
      await clients.answers(5);
      const next = start({ options: { probation: 100 } });
      await next.tells('serving');
      assert.deepEqual(await end, { code: 0, signal: null, stdout: 'serves\n', stderr: '' });
      assert.equal(await ask({ port }), `${next.pid}`);
      await clients.answers(5);
      await clients.stop();
      assert.deepEqual(clients.errors, []);
    } finally {
      python.kill('SIGKILL');
      await end;
    }
  }));

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ended } from '../support/child.js';
import { listens } from '../support/connection.js';
import { inFolder, until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { test } from '../support/test.js';

const DISPLAY = 'wayland-fdpasser';

/** Runs `body` with a compositor that has an output without a screen. */
async function withCompositor(body: (environment: NodeJS.ProcessEnv) => Promise<void>): Promise<void> {
  needs('weston');
  await inFolder(async (folder) => {
    chmodSync(folder, 0o700);
    const { LD_PRELOAD: guard, ...rest } = process.env; // the guard is for Node
    const env = { ...rest, XDG_RUNTIME_DIR: folder };
    const options = ['--backend=headless-backend.so', `--socket=${DISPLAY}`, '--idle-time=0', '--no-config'];
    const weston = spawn('weston', options, { env });
    const end = ended(weston);
    try {
      await until(() => listens(`${folder}/${DISPLAY}`));
      await body({ ...env, WAYLAND_DISPLAY: DISPLAY, LD_PRELOAD: guard });
    } finally {
      weston.kill();
      await end;
    }
    const { code, signal } = await end;
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
  });
}

test('a Wayland compositor shows a window whose pixels are in a passed file', async () => {
  await withCompositor(async (env) => {
    const example = fileURLToPath(new URL('../../../examples/wayland.js', import.meta.url));
    const { code, signal, stdout, stderr } = await ended(spawn(process.execPath, [example], { env }));
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    assert.match(stdout, /^shown: a window of [1-9]\d* x [1-9]\d*\n$/);
  });
});

import assert from 'node:assert/strict';
import { chmodSync, closeSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, statSync, writeFileSync } from 'node:fs';
import { FdPasser, listen, type ListenOptions } from 'fdpasser';
import { amount } from '../support/amount.js';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile, identity, inFolder } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { test } from '../support/test.js';

/** What another user gets from a server that sends a descriptor to everyone it accepts. */
async function toldTo(path: string, options: ListenOptions): Promise<{ told: string; file: string }> {
  using server = listen(path, options);
  const fd = anonymousFile();
  const serve = async (): Promise<void> => {
    for await (const socket of server) {
      const passer = new FdPasser({ fh: socket });
      passer.pushSendFh(fd, { keepOpen: true });
      await passer.close();
    }
  };
  const serving = serve();
  const child = startChild('endpoint/stranger', { args: [path.replace('\0', '@')] });
  const whenEnded = ended(child);
  const told = await message<string>(child);
  assert.equal((await whenEnded).code, 0);
  server.close();
  await serving;
  const file = identity(fd);
  closeSync(fd);
  return { told, file };
}

const STRANGER = process.getuid!() === 0;

test('another user gets no descriptor and no byte, by path or abstract name, unless allowed', async () => {
  assert.ok(STRANGER, 'this test needs root, to become another user');
  await inFolder(async (folder) => {
    chmodSync(folder, 0o755);
    for (const path of [`${folder}/socket`, `\0${folder}`]) {
      assert.equal((await toldTo(path, { mode: 0o666 })).told, 'ERR_FDPASSER_CLOSED');
      const { told, file } = await toldTo(path, { mode: 0o666, allow: () => true });
      assert.equal(told, file);
    }
    assert.equal((await toldTo(`${folder}/socket`, { allow: () => true })).told, 'EACCES');
  });
});

/** Puts a link to a file where a socket appears, as fast as it can, until its input ends. */
const SWAPPER = `
import os, select, sys
path, victim = sys.argv[1:]
while not select.select([0], [], [], 0)[0]:
    os.symlink(victim, path + '.link')
    try:
        if os.path.exists(path): os.rename(path + '.link', path)
    except OSError: pass
    for name in (path, path + '.link'):
        try:
            if os.path.islink(name): os.unlink(name)
        except OSError: pass
`;

test('listen never changes the mode of a file that replaces its socket', async () => {
  needs('python3');
  const umask = process.umask(0o077);
  try {
    await inFolder(async (folder) => {
      const victim = `${folder}/victim`;
      const path = `${folder}/socket`;
      writeFileSync(victim, '', { mode: 0o600 });
      const { LD_PRELOAD: _, ...env } = process.env;
      const swapper = spawn('python3', ['-c', SWAPPER, path, victim], { env, stdio: ['pipe', 'ignore', 'inherit'] });
      const whenEnded = once(swapper, 'exit');
      for (let i = 0, until = performance.now() + amount(3000, 700); performance.now() < until; i++) {
        try {
          listen(path, { mode: 0o666 }).close();
        } catch {
          // Another file took its place.
        }
      }
      swapper.stdin.end();
      assert.deepEqual(await whenEnded, [0, null]);
      assert.equal(statSync(victim).mode & 0o777, 0o600);
      using server = listen(`${path}s`, { mode: 0o666 });
      assert.equal(lstatSync(server.path).mode & 0o777, 0o666);
    });
  } finally {
    process.umask(umask);
  }
});

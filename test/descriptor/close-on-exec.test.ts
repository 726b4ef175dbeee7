import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { FdPasser, connect, listen, socketpair } from 'fdpasser';
import { ended } from '../support/child.js';
import { O_CLOEXEC, anonymousFile, flagsOf, inFolder } from '../support/descriptors.js';
import { test } from '../support/test.js';

function closesOnExec(fd: number): boolean {
  return (flagsOf(fd) & O_CLOEXEC) !== 0;
}

/** What a spawned child has open beyond its standard three, as `number -> name`. */
async function openInChild(named: (number | 'ignore')[]): Promise<string[]> {
  const child = spawn('ls', ['-l', '/proc/self/fd'], { stdio: ['ignore', 'pipe', 'pipe', ...named] });
  const { code, signal, stdout, stderr } = await ended(child);
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  return stdout
    .split('\n')
    .map((line) => /\d+ -> .*$/.exec(line)?.[0].replace(/\/proc\/\d+\/fd$/, 'the listing'))
    .filter((entry) => entry !== undefined)
    .filter((entry) => !/^[012] /.test(entry));
}

test('every descriptor that is made or received is close-on-exec, and a spawned child has only what was named', async () => {
  await inFolder(async (folder) => {
    const bare = await openInChild([]);
    const [a, b] = socketpair();
    using server = listen(`${folder}/socket`);
    using client = await connect(server.path);
    using accepted = await server.accept();
    using copy = a.dup();
    for (const { fd } of [a, b, server, client, accepted, copy]) assert.ok(closesOnExec(fd));

    for (const batch of [1, 4]) {
      const [from, to] = socketpair();
      await using one = new FdPasser({ fh: from, batch });
      await using other = new FdPasser({ fh: to });
      for (let i = 0; i < 4; i++) one.pushSendFh(anonymousFile());
      const received = await Promise.all(Array.from({ length: 4 }, () => other.receive()));
      for (const { fd } of received) assert.ok(closesOnExec(fd));

      assert.deepEqual(await openInChild([]), bare);
      const { fd } = received[0]!;
      assert.deepEqual(await openInChild(['ignore', fd]), [...bare, `4 -> ${readlinkSync(`/proc/self/fd/${fd}`)}`]);
      for (const fd of received) fd.close();
    }
    a.close();
    b.close();
  });
});

test('a socket that came without close-on-exec has it once a passer has the number', async () => {
  // Node sets it on what it inherits, up to the first gap past 15.
  const NUMBER = 40;
  const passer = new FdPasser();
  const gap = Array.from({ length: NUMBER - 3 }, () => 'ignore' as const);
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('children/close-on-exec.js', import.meta.url)), `${NUMBER}`],
    { stdio: ['ignore', 'pipe', 'pipe', ...gap, passer.peer.fd] },
  );
  passer.iAmParent();
  passer.pushSendFh(anonymousFile());
  const end = await ended(child);
  assert.deepEqual(end, { code: 0, signal: null, stdout: '', stderr: '' });
  await passer.close();
});

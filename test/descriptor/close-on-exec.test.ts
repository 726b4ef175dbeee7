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

/** Node sets it on what it inherits, up to the first gap past 15. */
const NOT_SET = 40;

/** Starts a child that has `fd` at a number without close-on-exec, and gets that number as an argument. */
function startWithout(name: string, fd: number): ReturnType<typeof ended> {
  const gap = Array.from({ length: NOT_SET - 3 }, () => 'ignore' as const);
  const file = fileURLToPath(new URL(`children/${name}.js`, import.meta.url));
  return ended(spawn(process.execPath, [file, `${NOT_SET}`], { stdio: ['ignore', 'pipe', 'pipe', ...gap, fd] }));
}

test('a number that is adopted is close-on-exec when that is asked for, and stays as it was otherwise', async () => {
  const [one, other] = socketpair();
  const end = await startWithout('adopt-without-close-on-exec', one.fd);
  assert.deepEqual(end, { code: 0, signal: null, stdout: '', stderr: '' });
  one.close();
  other.close();
});

test('a socket that came without close-on-exec has it once a passer has the number', async () => {
  const passer = new FdPasser();
  const ending = startWithout('close-on-exec', passer.peer.fd);
  passer.iAmParent();
  passer.pushSendFh(anonymousFile());
  assert.deepEqual(await ending, { code: 0, signal: null, stdout: '', stderr: '' });
  await passer.close();
});
